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

// Four rows of floats → the columns of `to`, 4 × 4 at a time.
static void transpose4(const float* const (&from)[4], float* to, size_t to_row, size_t columns) {
    size_t column = 0;
    for (; column + 4 <= columns; column += 4) {
        const F4 a = load4(from[0] + column), b = load4(from[1] + column), c = load4(from[2] + column);
        const F4 d = load4(from[3] + column);
        const F4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), AB = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        const F4 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        float* q = to + column * to_row;
        store4(q, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
        store4(q + to_row, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
        store4(q + 2 * to_row, __builtin_shufflevector(AB, CD, 0, 1, 4, 5));
        store4(q + 3 * to_row, __builtin_shufflevector(AB, CD, 2, 3, 6, 7));
    }
    for (; column < columns; column++)
        for (size_t r = 0; r < 4; r++) to[column * to_row + r] = from[r][column];
}

// Columns of `from` → four rows of floats.
static void untranspose4(const float* from, size_t from_row, float* const (&to)[4], size_t columns) {
    size_t column = 0;
    for (; column + 4 <= columns; column += 4) {
        const float* p = from + column * from_row;
        const F4 a = load4(p), b = load4(p + from_row), c = load4(p + 2 * from_row), d = load4(p + 3 * from_row);
        const F4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), AB = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        const F4 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        store4(to[0] + column, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
        store4(to[1] + column, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
        store4(to[2] + column, __builtin_shufflevector(AB, CD, 0, 1, 4, 5));
        store4(to[3] + column, __builtin_shufflevector(AB, CD, 2, 3, 6, 7));
    }
    for (; column < columns; column++)
        for (size_t r = 0; r < 4; r++) to[r][column] = from[column * from_row + r];
}

// `count` rows, the first of which is `first` → [channels][lanes], zeros behind the last. `at(row)` is where a row begins.
template <class At>
static void gather(At at, int64_t channel, int count, int channels, int lanes, float* to) {
    for (int c = 0; count < lanes && c < channels; c++) std::fill(to + (size_t)c * lanes + count, to + (size_t)(c + 1) * lanes, 0.0f);
    int row = 0;
    if (channel == 1)
        for (; row + 4 <= count; row += 4) {
            const float* const from[4] = {at(row), at(row + 1), at(row + 2), at(row + 3)};
            transpose4(from, to + row, lanes, channels);
        }
    for (int c = 0; row < count && c < channels; c++)
        for (int r = row; r < count; r++) to[(size_t)c * lanes + r] = at(r)[c * channel];
}

template <class At>
static void scatter(const float* from, At at, int64_t channel, int count, int channels, int lanes) {
    int row = 0;
    if (channel == 1)
        for (; row + 4 <= count; row += 4) {
            float* const to[4] = {at(row), at(row + 1), at(row + 2), at(row + 3)};
            untranspose4(from + row, lanes, to, channels);
        }
    for (int c = 0; row < count && c < channels; c++)
        for (int r = row; r < count; r++) at(r)[c * channel] = from[(size_t)c * lanes + r];
}

// Call `use(at)` with where each token of a problem, or each row from `first` on, begins.
template <class Use>
static void with_tokens(const Problems& x, int problem, int tokens, Use use) {
    float* const data = x.data + x.begin[problem];
    const int64_t token = x.token;
    if (!x.at) return use([=](int t) { return data + t * token; });
    const int64_t* const at = x.at + (x.table_of ? x.table_of[problem] : 0) * (int64_t)tokens;
    use([=](int t) { return data + at[t]; });
}

template <class Use>
static void with_rows(const Rows& x, int64_t first, Use use) {
    const int64_t stride = x.stride;
    if (!x.at) {
        float* const data = x.data + first * stride;
        return use([=](int r) { return data + r * stride; });
    }
    float* const data = x.data;
    const int64_t* const at = x.at + first;
    use([=](int r) { return data + at[r]; });
}

static void apply_signs(const float* signs, float* x, int channels, int lanes) {
    for (int c = 0; signs && c < channels; c++)
        if (signs[c] != 1)
            for (int t = 0; t < lanes; t++) x[(size_t)c * lanes + t] *= signs[c];
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
        const Problems* const operands[] = {&call.q, &call.k, &call.v};
        const float* const signs[] = {call.q_signs, call.k_signs, call.v_signs};
        for (int i = 0; i < 3; i++, part += (size_t)channels * lanes) {
            with_tokens(*operands[i], problem, tokens, [&](auto at) {
                gather(at, operands[i]->channel, tokens, channels, lanes, part);
            });
            apply_signs(signs[i], part, channels, lanes);
        }
        Attention one = described;
        one.bias = call.table + call.table_of[problem] * table;
        Window window = {};
        window.masked = call.other_table;
        if (window.masked) window.added = call.other_table + call.other_table_of[problem] * table;
        kernels_.attention(one, window, s.rows, s);
        apply_signs(call.v_signs, s.rows, channels, lanes);
        with_tokens(call.out, problem, tokens, [&](auto at) {
            scatter(s.rows, at, call.out.channel, tokens, channels, lanes);
        });
    });
}

void Operators::rows(const RowsCall& call) {
    constexpr int lanes = kTokensAtOnce;
    const int outputs = call.linear ? call.linear->outputs : call.channels;
    Sizes sizes;
    sizes.lanes = lanes;
    sizes.channels = sizes.hidden = std::max(call.channels, outputs);
    sizes.sparse = call.linear && call.linear->sparse;
    of_rows_.reserve(sizes);
    pool_.run((int)((call.rows + lanes - 1) / lanes), [&](int chunk, int thread) {
        Scratch& s = of_rows_[thread];
        const int64_t first = (int64_t)chunk * lanes;
        const int count = (int)std::min<int64_t>(lanes, call.rows - first);
        with_rows(call.x, first, [&](auto at) { gather(at, call.x.channel, count, call.channels, lanes, s.rows); });
        if (call.norm) kernels_.norm_rows(*call.norm, s.rows, call.channels);
        float* y = s.rows;
        if (call.linear) kernels_.linear(*call.linear, y = s.hidden, s);
        if (call.activation) kernels_.activate(call.activation, y, (size_t)outputs * lanes);
        if (call.residual.data) {
            with_rows(call.residual, first, [&](auto at) {
                gather(at, call.residual.channel, count, outputs, lanes, s.qkv);
            });
            kernels_.add(y, s.qkv, (size_t)outputs * lanes);
        }
        with_rows(call.y, first, [&](auto at) { scatter(y, at, call.y.channel, count, outputs, lanes); });
    });
}

void Operators::depthwise(const DepthwiseCall& call) {
    pool_.run(call.images * call.height, [&](int line, int) { kernels_.depthwise(call, line / call.height, line % call.height); });
}

void Operators::elementwise(const ElementwiseCall& call) {
    const int64_t at_once = std::max(1, kElementsAtOnce / call.channels);
    const int64_t blocks = (call.rows + at_once - 1) / at_once, blocks_at_once = 16;
    pool_.run((int)((blocks + blocks_at_once - 1) / blocks_at_once), [&](int number, int) {
        const int64_t first = number * blocks_at_once * at_once;
        kernels_.elementwise(call, first, std::min<int64_t>(call.rows, first + blocks_at_once * at_once), (int)at_once);
    });
}

}  // namespace compsrt
