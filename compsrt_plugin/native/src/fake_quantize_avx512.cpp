#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#define BEGIN_TARGET _Pragma("clang attribute push(__attribute__((target(\"avx512f,avx512bw,avx512dq,avx512vl\"))), apply_to = function)")
#define END_TARGET _Pragma("clang attribute pop")
#else
#define BEGIN_TARGET _Pragma("GCC push_options") _Pragma("GCC target(\"avx512f,avx512bw,avx512dq,avx512vl\")")
#define END_TARGET _Pragma("GCC pop_options")
#endif
#define MULTIPLY_ADD(a, b, c) reinterpret_cast<Lanes>(_mm512_fmadd_ps(a, b, c))
#define LOAD_PART(from, count) reinterpret_cast<Lanes>(_mm512_maskz_loadu_ps((1 << (count)) - 1, from))
#define STORE_PART(to, x, count) _mm512_mask_storeu_ps(to, (1 << (count)) - 1, x)
#define NAME(function) function##_avx512
#include "fake_quantize.inc"
#endif
