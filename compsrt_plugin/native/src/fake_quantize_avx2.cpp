#if defined(__x86_64__)
#include "target.h"

#define BEGIN_LEVEL BEGIN_TARGET("avx2,fma")
#define END_LEVEL END_TARGET
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#define NAME(function) function##_avx2
#include "fake_quantize.inc"
#endif
