#if defined(__x86_64__)
#include <immintrin.h>

#include "target.h"

#define BEGIN_LEVEL BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl")
#define END_LEVEL END_TARGET
#define VECTOR_BYTES 64
#define MULTIPLY_ADD(a, b, c) reinterpret_cast<Vec>(_mm512_fmadd_ps(a, b, c))
#define LOAD_MASKED(from, count) _mm512_maskz_loadu_ps((1 << (count)) - 1, from)
#define STORE_MASKED(to, x, count) _mm512_mask_storeu_ps(to, (1 << (count)) - 1, x)
#define NAME(function) function##_avx512
#include "fake_quantize.inc"
#endif
