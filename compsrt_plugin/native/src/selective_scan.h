// The selective scan and its gradients: see compsrt_plugin/native/scan.py.
#pragma once
#include <stdint.h>

// All arrays are dense, the last axis innermost.
struct Scan {
    const float *u, *delta;       // (batch, length, channels)
    const float *A;               // (channels, states)
    const float *B, *C;           // (batch, length, states)
    const float *D, *delta_bias;  // (channels)
    int64_t batch, length, channels;
};

struct ScanGradients {
    float *u, *delta, *A, *B, *C, *D, *delta_bias;  // shaped as in Scan
};

// 0: no code for that many states, or no memory; else 1
#define DECLARE_SCAN(LEVEL)                                                                \
    int scan_forward_##LEVEL(const Scan &scan, int states, float *y, int threads);         \
    int scan_backward_##LEVEL(const Scan &scan, int states, const float *grad, const ScanGradients &to, int threads);

DECLARE_SCAN(plain)
#if defined(__x86_64__)
DECLARE_SCAN(avx2)
#endif
