// The selective scan and its gradients: see compsrt_plugin/native/scan.py.
#pragma once
#include <stdint.h>

namespace compsrt {

// All arrays are dense, the last axis innermost.
struct Scan {
    const float *u, *delta;       // (batch, length, channels)
    const float* A;               // (channels, states)
    const float *B, *C;           // (batch, length, states)
    const float *D, *delta_bias;  // (channels)
    int64_t batch, length, channels;
    int states, threads;
};

struct ScanGradients {
    float *u, *delta, *A, *B, *C, *D, *delta_bias;  // shaped as in Scan
};

}  // namespace compsrt
