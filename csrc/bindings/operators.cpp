// The engine's operators for parts of networks; a handle is an `Operators*`.
#include "engine/operators.h"

#include "bindings/guard.h"

using namespace compsrt;

// Start fewer threads than requested if the system refuses more.
EXPORT int compsrt_operators_create(int level, int threads, void** operators) {
    return guarded([&] { *operators = new Operators(*level_table[level].inference, threads); });
}

EXPORT int compsrt_operators_attention(void* operators, const Attention* attention, const AttentionCall* call) {
    return guarded([&] { ((Operators*)operators)->attention(*attention, *call); });
}

EXPORT int compsrt_operators_rows(void* operators, const RowsCall* call) {
    return guarded([&] { ((Operators*)operators)->rows(*call); });
}

EXPORT int compsrt_operators_moments(void* operators, const MomentsCall* call) {
    return guarded([&] { ((Operators*)operators)->moments(*call); });
}

EXPORT int compsrt_operators_reduction(void* operators, const ReductionCall* call) {
    return guarded([&] { ((Operators*)operators)->reduction(*call); });
}

EXPORT int compsrt_operators_gram(void* operators, const GramCall* call) {
    return guarded([&] { ((Operators*)operators)->gram(*call); });
}

EXPORT int compsrt_operators_mix(void* operators, const MixCall* call) {
    return guarded([&] { ((Operators*)operators)->mix(*call); });
}

EXPORT int compsrt_operators_depthwise(void* operators, const DepthwiseCall* call) {
    return guarded([&] { ((Operators*)operators)->depthwise(*call); });
}

EXPORT int compsrt_operators_convolution(void* operators, const ConvolutionCall* call) {
    return guarded([&] { ((Operators*)operators)->convolution(*call); });
}

EXPORT int compsrt_operators_elementwise(void* operators, const ElementwiseCall* call) {
    return guarded([&] { ((Operators*)operators)->elementwise(*call); });
}

EXPORT int compsrt_operators_destroy(void* operators) {
    return guarded([&] { delete (Operators*)operators; });
}
