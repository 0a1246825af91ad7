#if defined(__x86_64__)
#include <immintrin.h>

#include "target.h"

#define BEGIN_LEVEL BEGIN_TARGET("avx2,fma")
#define END_LEVEL END_TARGET
#define VECTOR_BYTES 32
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#define MASK(count) reinterpret_cast<__m256i>(lane_numbers() < (count))
#define LOAD_MASKED(from, count) _mm256_maskload_ps(from, MASK(count))
#define STORE_MASKED(to, x, count) _mm256_maskstore_ps(to, MASK(count), x)
#define NAME(function) function##_avx2
#include "fake_quantize.inc"
#endif
