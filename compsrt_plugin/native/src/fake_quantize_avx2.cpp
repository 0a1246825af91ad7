#if defined(__x86_64__)
#if defined(__clang__)
#define BEGIN_TARGET _Pragma("clang attribute push(__attribute__((target(\"avx2,fma\"))), apply_to = function)")
#define END_TARGET _Pragma("clang attribute pop")
#else
#define BEGIN_TARGET _Pragma("GCC push_options") _Pragma("GCC target(\"avx2,fma\")")
#define END_TARGET _Pragma("GCC pop_options")
#endif
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#define NAME(function) function##_avx2
#include "fake_quantize.inc"
#endif
