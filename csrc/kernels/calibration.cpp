// The kernels of calibration at one level. Compiled without contraction: a fused multiply-add rounds once, and its codes
// would differ from torch's.
#include <stdlib.h>
#include <string.h>

#include "kernels/table.h"
#include "simd/simd.h"

namespace compsrt {
namespace {
#include COMPSRT_SIMD

#include "simd/math-inl.h"

#include "kernels/fake_quantize-inl.h"
#include "kernels/selective_scan-inl.h"
}  // namespace

extern const CalibrationKernels COMPSRT_NAMED(calibration_, COMPSRT_LEVEL) = {
    fake_quantize, fake_quantize_backward, selective_scan, selective_scan_backward};
}  // namespace compsrt
