// What the fake quantizer is told: see compsrt_plugin/native/__init__.py.
#pragma once
#include <stdint.h>

struct Quantizer {
    const float *scale, *zero_point;  // one, or one for each row
    int per_row;
    int per_token;  // scale and zero point are in units of the largest magnitude of each row, transformed
    float top;
};

struct Domain {
    int width;       // of a row in memory, at most 16 V
    int transform;   // 0 none, 1 Hadamard, 2 Hadamard without the first coefficient, which is 1 / sqrt(16 V)
    int invert;      // whether the output is transformed back
    const float *signs;  // 16 V of +1 and -1 by which a row is multiplied before its transform, or null
};

// rows of `width` floats, held as `vectors` vectors of 16; 0 if there is no code for that many vectors, else 1
#define DECLARE(LEVEL)                                                                                                 \
    int forward_##LEVEL(const float *x, float *y, int64_t rows, int vectors, Domain domain, Quantizer q, int threads); \
    int backward_##LEVEL(const float *x, const float *grad, float *grad_x, float *y, float *grad_scale,                \
                         float *grad_zero, int64_t rows, int vectors, Domain domain, Quantizer q, int threads);

DECLARE(plain)
#if defined(__x86_64__)
DECLARE(avx2)
DECLARE(avx512)
#endif
