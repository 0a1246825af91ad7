// What Python reads from the library: its levels, and the offset of each field of its structures.
#include <string>

#include "bindings/guard.h"
#include "engine/operators.h"
#include "simd/levels.h"

using namespace compsrt;

// Fill in the levels, best first, and return their number; `levels` may be null.
EXPORT int compsrt_levels(Level* levels) {
    for (int i = 0; levels && i < level_count; i++)
        levels[i] = {level_table[i].name, level_table[i].available(), level_table[i].inference->conv_rows,
                     level_table[i].inference->integers};
    return level_count;
}

static void add(std::string& text, const char* name, size_t offset, size_t bytes) {
    text += std::string(name) + " " + std::to_string(offset) + " " + std::to_string(bytes) + "\n";
}

// FIELDS(S, a, b, …) adds each field of S; the macros call themselves as often as EXPAND lets them, 81 times.
#define PARENTHESES ()
#define EXPAND(...) EXPAND_27(EXPAND_27(EXPAND_27(__VA_ARGS__)))
#define EXPAND_27(...) EXPAND_9(EXPAND_9(EXPAND_9(__VA_ARGS__)))
#define EXPAND_9(...) EXPAND_3(EXPAND_3(EXPAND_3(__VA_ARGS__)))
#define EXPAND_3(...) __VA_ARGS__
#define EACH(S, F, ...) add(text, #S "." #F, offsetof(S, F), sizeof(S::F)); __VA_OPT__(AGAIN PARENTHESES(S, __VA_ARGS__))
#define AGAIN() EACH
#define FIELDS(S, ...) add(text, #S, 0, sizeof(S)); EXPAND(EACH(S, __VA_ARGS__))

static std::string layout() {
    std::string text;
    FIELDS(Integers, sum_bits, products_per_sum, code_shift, sparse)
    FIELDS(Level, name, available, conv_rows, integers)
    FIELDS(FakeQuantize, rows, width, vectors, transform, invert, signs, scale, zero_point, per_row, per_token, top, threads)
    FIELDS(FakeQuantizeGradients, x, scale, zero_point, y)
    FIELDS(Scan, u, delta, A, B, C, D, delta_bias, batch, length, channels, states, threads)
    FIELDS(ScanGradients, u, delta, A, B, C, D, delta_bias)
    FIELDS(Quantizer, scale, zero, top, transform, width, code_scale, code_offset, per_token, centre)
    FIELDS(TwoOfFour, at, weights)
    FIELDS(Linear, inputs, outputs, columns, rows, integer, inverse, input, signs, kept_columns, kept_rows, weight, codes,
           sparse, start, alpha, beta, gamma, bias)
    FIELDS(Attention, heads, head_dim, tokens, keys, key_lanes, lanes, q, k, v, map, integer_scores, integer_map,
           lane_of_row, bias, alpha, key_beta, query_beta, gamma, out_alpha, out_beta, sum_alpha, sum_beta, first_alpha,
           first_beta, score_scale)
    FIELDS(Norm, weight, bias, epsilon)
    FIELDS(Block, shifted, hidden, norm1, norm2, q, k, v, proj, fc1, fc2, attention)
    FIELDS(Conv, inputs, outputs, slope, weight, bias)
    FIELDS(Group, blocks, convs, block, conv)
    FIELDS(Network, channels, in_channels, window, split, lanes, groups, tail_convs, scale, out_channels, group, first,
           tail, upsample, patch_norm, last_norm, mean, range)
    FIELDS(Problems, data, begin, at, table_of, token, channel)
    FIELDS(Rows, data, at, stride, channel)
    FIELDS(RowsCall, rows, channels, activation, x, residual, y, norm, linear)
    FIELDS(MomentsCall, rows, channels, variance, x, y)
    FIELDS(ReductionCall, groups, rows, channels, root, factor, x, y)
    FIELDS(ChannelOperand, x, divisor, signs, quantizer)
    FIELDS(GramCall, rows, heads, channels, q, k, y)
    FIELDS(MixCall, rows, heads, channels, map, v, y)
    FIELDS(DepthwiseCall, images, height, width, channels, kernel_height, kernel_width, dilation, activation, x, y, weight,
           bias)
    FIELDS(ConvolutionCall, images, height, width, inputs, outputs, blocks, activation, x, residual, y, weight, bias)
    FIELDS(Instruction, operation, to, left, right, number)
    FIELDS(ElementwiseCall, rows, channels, inputs, instructions, result, x, y, program)
    FIELDS(AttentionCall, problems, q, k, v, out, q_signs, k_signs, v_signs, table, other_table, table_of, other_table_of,
           factors)
    return text;
}

// Return name, offset and bytes of each structure and field, one a line; native/structures.py compares them with its own.
// Null if there is no memory.
EXPORT const char* compsrt_layout() {
    static std::string text;
    return guarded([] { text = layout(); }) == kDone ? text.c_str() : nullptr;
}
