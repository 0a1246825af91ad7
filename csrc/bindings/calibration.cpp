// Kernels of calibration, at the level that `compsrt_levels` numbers.
#include "bindings/guard.h"
#include "simd/levels.h"

using namespace compsrt;

static int status(int found) { return found ? kDone : kNoMemory; }

EXPORT int compsrt_fake_quantize(int level, const FakeQuantize* how, const float* x, float* y) {
    return status(level_table[level].calibration->fake_quantize(*how, x, y));
}

EXPORT int compsrt_fake_quantize_backward(int level, const FakeQuantize* how, const float* x, const float* grad,
                                          const FakeQuantizeGradients* to) {
    return status(level_table[level].calibration->fake_quantize_backward(*how, x, grad, *to));
}

EXPORT int compsrt_selective_scan(int level, const Scan* scan, float* y) {
    return status(level_table[level].calibration->selective_scan(*scan, y));
}

EXPORT int compsrt_selective_scan_backward(int level, const Scan* scan, const float* grad, const ScanGradients* to) {
    return status(level_table[level].calibration->selective_scan_backward(*scan, grad, *to));
}
