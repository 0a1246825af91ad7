// Arguments of fake quantization; the caller is compsrt_plugin/native/kernels.py.
#pragma once
#include <stdint.h>

namespace compsrt {

enum Transform : int32_t { kNone = 0, kHadamard = 1, kSoftmax = 2 };  // kSoftmax: coefficient 0 is known, 1 / √m

struct FakeQuantize {
    int64_t rows;
    int width;           // of a row in memory
    int vectors;         // a row is held as this many groups of 16 floats, padded with zeros
    Transform transform;
    int invert;          // whether the output is transformed back
    const float* signs;  // [16 · vectors] sign vector (±1) of a row, applied before its transform; or null
    const float *scale, *zero_point;  // one, or one for each row
    int per_row;
    int per_token;       // scale and zero point are in units of the largest magnitude of each row, transformed
    float top;           // the largest code
    int threads;
};

struct FakeQuantizeGradients {
    float *x, *scale, *zero_point;
    float* y;  // receives the output of the forward pass; or null
};

}  // namespace compsrt
