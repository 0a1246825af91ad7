// The kernels of the engine at one level.
#include "engine/operators.h"
#include "kernels/table.h"
#include "simd/simd.h"

namespace compsrt {
namespace {
#include COMPSRT_SIMD

#include "simd/math-inl.h"

#include "kernels/hadamard-inl.h"
#include "kernels/quantize-inl.h"
#if COMPSRT_SPARSE
#include "kernels/sparse-inl.h"
#endif
#include "kernels/products-inl.h"
#include "kernels/linear-inl.h"
#include "kernels/norm-inl.h"
#include "kernels/attention_floats-inl.h"
#if COMPSRT_INTEGER
#include "kernels/attention_codes-inl.h"
#endif
#include "kernels/block-inl.h"
#include "kernels/conv-inl.h"
#include "kernels/elementwise-inl.h"
#include "kernels/depthwise-inl.h"
#include "kernels/transpose-inl.h"
#include "kernels/channels-inl.h"
}  // namespace

extern const InferenceKernels COMPSRT_NAMED(inference_, COMPSRT_LEVEL) = {
    {kSumBits, kProductsPerSum, kCodeShift, COMPSRT_SPARSE}, kConvRows, W, run_block, run_attention, run_linear,
    norm_rows, activate, add, gather_rows, scatter_rows, moments, reduce, gram, mix, depthwise, elementwise, normalize_cells, conv};
}  // namespace compsrt
