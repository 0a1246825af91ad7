#include "engine/operators.h"

#include <algorithm>
#include <cstring>

namespace compsrt {

typedef float F4 __attribute__((vector_size(16)));

static F4 load4(const float* p) {
    F4 v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
static void store4(float* p, F4 v) { std::memcpy(p, &v, sizeof v); }

// [rows][from_row] → [columns][to_row], 4 × 4 at a time; both with neighbours side by side.
static void transpose(const float* from, size_t from_row, float* to, size_t to_row, size_t rows, size_t columns) {
    size_t row = 0;
    for (; row + 4 <= rows; row += 4) {
        size_t column = 0;
        for (; column + 4 <= columns; column += 4) {
            const float* p = from + row * from_row + column;
            const F4 a = load4(p), b = load4(p + from_row), c = load4(p + 2 * from_row), d = load4(p + 3 * from_row);
            const F4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), AB = __builtin_shufflevector(a, b, 2, 6, 3, 7);
            const F4 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            float* q = to + column * to_row + row;
            store4(q, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
            store4(q + to_row, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
            store4(q + 2 * to_row, __builtin_shufflevector(AB, CD, 0, 1, 4, 5));
            store4(q + 3 * to_row, __builtin_shufflevector(AB, CD, 2, 3, 6, 7));
        }
        for (; column < columns; column++)
            for (size_t r = row; r < row + 4; r++) to[column * to_row + r] = from[r * from_row + column];
    }
    for (; row < rows; row++)
        for (size_t column = 0; column < columns; column++) to[column * to_row + row] = from[row * from_row + column];
}

// One problem of a tensor → [channels][lanes], zeros behind the last token.
static void gather(const Strided& x, int problem, int tokens, int channels, int lanes, float* to) {
    const float* from = x.data + x.begin[problem];
    for (int c = 0; c < channels; c++) std::fill(to + (size_t)c * lanes + tokens, to + (size_t)(c + 1) * lanes, 0.0f);
    if (x.channel == 1) return transpose(from, x.token, to, lanes, tokens, channels);
    for (int c = 0; c < channels; c++)
        for (int t = 0; t < tokens; t++) to[(size_t)c * lanes + t] = from[c * x.channel + t * x.token];
}

static void scatter(const float* from, const Strided& x, int problem, int tokens, int channels, int lanes) {
    float* to = x.data + x.begin[problem];
    if (x.channel == 1) return transpose(from, lanes, to, x.token, channels, tokens);
    for (int c = 0; c < channels; c++)
        for (int t = 0; t < tokens; t++) to[c * x.channel + t * x.token] = from[(size_t)c * lanes + t];
}

static void apply_signs(const float* signs, float* x, int channels, int lanes) {
    for (int c = 0; signs && c < channels; c++)
        if (signs[c] < 0)
            for (int t = 0; t < lanes; t++) x[(size_t)c * lanes + t] *= -1;
}

static size_t in_lanes(size_t tokens) { return (tokens + 63) / 64 * 64; }

void Operators::Room::reserve(const Sizes& sizes) {
    const bool fits = sizes.lanes == reserved_.lanes && sizes.channels <= reserved_.channels && sizes.head <= reserved_.head &&
                      sizes.hidden <= reserved_.hidden && sizes.tokens <= reserved_.tokens && sizes.sparse <= reserved_.sparse;
    if (fits) return;
    Sizes more = sizes;
    if (sizes.lanes == reserved_.lanes) {
        more.channels = std::max(sizes.channels, reserved_.channels);
        more.hidden = std::max(sizes.hidden, reserved_.hidden);
        more.head = std::max(sizes.head, reserved_.head);
        more.tokens = std::max(sizes.tokens, reserved_.tokens);
        more.sparse |= reserved_.sparse;
    }
    reserved_ = Sizes();  // if there is no memory
    for (size_t i = 0; i < scratch_.size(); i++) {
        memory_[i] = std::vector<std::byte>();  // the old one first: both at once might not fit
        memory_[i].resize(scratch_[i].lay_out(more, nullptr));
        scratch_[i].lay_out(more, memory_[i].data());
    }
    reserved_ = more;
}

void Operators::attention(const Attention& described, const AttentionCall& call) {
    Sizes sizes;
    sizes.lanes = in_lanes(described.tokens);
    sizes.channels = sizes.head = described.head_dim;
    sizes.tokens = described.tokens;
    of_attention_.reserve(sizes);
    const int lanes = (int)sizes.lanes, tokens = described.tokens, channels = described.head_dim;
    const size_t table = (size_t)tokens * lanes;
    pool_.run(call.problems, [&](int problem, int thread) {
        Scratch& s = of_attention_[thread];
        float* part = s.qkv;
        const Strided* const operands[] = {&call.q, &call.k, &call.v};
        const float* const signs[] = {call.q_signs, call.k_signs, call.v_signs};
        for (int i = 0; i < 3; i++, part += (size_t)channels * lanes) {
            gather(*operands[i], problem, tokens, channels, lanes, part);
            apply_signs(signs[i], part, channels, lanes);
        }
        Attention one = described;
        one.bias = call.table + call.table_of[problem] * table;
        Window window = {};
        window.masked = call.other_table;
        if (window.masked) window.added = call.other_table + call.other_table_of[problem] * table;
        kernels_.attention(one, window, s.rows, s);
        apply_signs(call.v_signs, s.rows, channels, lanes);
        scatter(s.rows, call.out, problem, tokens, channels, lanes);
    });
}

void Operators::linear(const Linear& layer, const float* x, float* y, int64_t tokens) {
    Sizes sizes;
    sizes.lanes = kTokensAtOnce;
    sizes.channels = std::max(layer.inputs, layer.outputs);
    sizes.hidden = sizes.channels;
    sizes.sparse = layer.sparse;
    of_linear_.reserve(sizes);
    const int64_t chunks = (tokens + kTokensAtOnce - 1) / kTokensAtOnce;
    pool_.run((int)chunks, [&](int chunk, int thread) {
        Scratch& s = of_linear_[thread];
        const int64_t first = (int64_t)chunk * kTokensAtOnce;
        const int count = (int)std::min<int64_t>(kTokensAtOnce, tokens - first);
        for (int c = 0; c < layer.inputs && count < kTokensAtOnce; c++)
            std::fill(s.rows + (size_t)c * kTokensAtOnce + count, s.rows + (size_t)(c + 1) * kTokensAtOnce, 0.0f);
        transpose(x + first * layer.inputs, layer.inputs, s.rows, kTokensAtOnce, count, layer.inputs);
        kernels_.linear(layer, s.hidden, s);
        transpose(s.hidden, kTokensAtOnce, y + first * layer.outputs, layer.outputs, layer.outputs, count);
    });
}

}  // namespace compsrt
