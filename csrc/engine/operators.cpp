#include "engine/operators.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace compsrt {

static void apply_signs(const float* signs, float* x, int channels, int lanes) {
    for (int c = 0; signs && c < channels; c++)
        if (signs[c] != 1)
            for (int t = 0; t < lanes; t++) x[(size_t)c * lanes + t] *= signs[c];
}

void Operators::gather(const Rows& x, int64_t first, int count, int channels, int lanes, float* to) const {
    for (int c = 0; count < lanes && c < channels; c++)
        std::memset(to + (size_t)c * lanes + count, 0, sizeof(float) * (lanes - count));
    kernels_.gather(x.data + (x.at ? 0 : first * x.stride), x.at ? x.at + first : nullptr, x.stride, x.channel, count, channels,
                    lanes, to);
}

void Operators::scatter(const float* from, const Rows& y, int64_t first, int count, int channels, int lanes) const {
    kernels_.scatter(from, y.data + (y.at ? 0 : first * y.stride), y.at ? y.at + first : nullptr, y.stride, y.channel, count,
                     channels, lanes);
}

void Operators::Room::reserve(const Sizes& sizes) {
    Sizes more = reserved_;
    for (size_t Sizes::*part : {&Sizes::lanes, &Sizes::channels, &Sizes::hidden, &Sizes::head, &Sizes::keys, &Sizes::planes,
                                &Sizes::outputs, &Sizes::tall, &Sizes::pitch})
        more.*part = std::max(sizes.*part, reserved_.*part);
    more.sparse |= sizes.sparse;
    if (more == reserved_) return;
    reserved_ = Sizes();  // reset in case the allocation fails
    for (size_t i = 0; i < scratch_.size(); i++) {
        memory_[i] = std::vector<std::byte>();  // free the old buffer first: both may not fit in memory
        memory_[i].resize(scratch_[i].lay_out(more, nullptr));
        scratch_[i].lay_out(more, memory_[i].data());
    }
    reserved_ = more;
}

// The tokens of one problem.
static Rows rows_of(const Problems& x, int problem, int tokens) {
    const int64_t* at = x.at ? x.at + (x.table_of ? x.table_of[problem] : 0) * (int64_t)tokens : nullptr;
    return {x.data + x.begin[problem], at, x.token, x.channel};
}

void Operators::attention(const Attention& described, const AttentionCall& call) {
    const int lanes = described.lanes, tokens = described.tokens, keys = described.keys, channels = described.head_dim;
    Sizes sizes;
    sizes.lanes = std::max(lanes, described.key_lanes);
    sizes.channels = sizes.head = channels;
    sizes.keys = keys;
    of_attention_.reserve(sizes);
    const int blocks = (tokens + lanes - 1) / lanes;
    const size_t table = (size_t)keys * lanes;
    pool_.run(call.problems, [&](int problem, int thread) {
        Scratch& s = of_attention_[thread];
        s.T = lanes;
        const Rows queries = rows_of(call.q, problem, tokens), out = rows_of(call.out, problem, tokens);
        Attention one = described;
        if (call.factors)
            for (float* constant : {&one.alpha, &one.key_beta, &one.query_beta, &one.gamma, &one.score_scale})
                *constant *= call.factors[problem];
        float *const q = s.qkv, *const k = q + (size_t)channels * lanes, *const v = k + (size_t)channels * one.key_lanes;
        gather(rows_of(call.k, problem, keys), 0, keys, channels, one.key_lanes, k);
        apply_signs(call.k_signs, k, channels, one.key_lanes);
        gather(rows_of(call.v, problem, keys), 0, keys, channels, one.key_lanes, v);
        apply_signs(call.v_signs, v, channels, one.key_lanes);
        for (int block = 0; block < blocks; block++) {
            const int first = block * lanes, count = std::min(lanes, tokens - first);
            gather(queries, first, count, channels, lanes, q);
            apply_signs(call.q_signs, q, channels, lanes);
            one.bias = call.table + ((size_t)call.table_of[problem] * blocks + block) * table;
            Window window = {};
            window.masked = call.other_table;
            if (window.masked) window.added = call.other_table + ((size_t)call.other_table_of[problem] * blocks + block) * table;
            kernels_.attention(one, window, s.rows, s);
            apply_signs(call.v_signs, s.rows, channels, lanes);
            scatter(s.rows, out, first, count, channels, lanes);
        }
    });
}

template <class Work>
void Operators::in_chunks(int64_t rows, const Sizes& sizes, const Work& work) {
    of_rows_.reserve(sizes);
    pool_.run((int)((rows + kTokensAtOnce - 1) / kTokensAtOnce), [&](int chunk, int thread) {
        const int64_t first = (int64_t)chunk * kTokensAtOnce;
        work(first, (int)std::min<int64_t>(kTokensAtOnce, rows - first), of_rows_[thread]);
    });
}

static Sizes sizes_of(int channels, int head = 1) {
    Sizes sizes;
    sizes.lanes = kTokensAtOnce;
    sizes.channels = sizes.hidden = channels;
    sizes.head = head;
    return sizes;
}

void Operators::rows(const RowsCall& call) {
    const int outputs = call.linear ? call.linear->outputs : call.channels;
    Sizes sizes = sizes_of(std::max(call.channels, outputs));
    sizes.sparse = call.linear && call.linear->sparse;
    in_chunks(call.rows, sizes, [&](int64_t first, int count, Scratch& s) {
        gather(call.x, first, count, call.channels, kTokensAtOnce, s.rows);
        if (call.norm) kernels_.norm_rows(*call.norm, s.rows, call.channels);
        float* y = s.rows;
        if (call.linear) kernels_.linear(*call.linear, y = s.hidden, s);
        if (call.activation) kernels_.activate(call.activation, y, (size_t)outputs * kTokensAtOnce);
        if (call.residual.data) {
            gather(call.residual, first, count, outputs, kTokensAtOnce, s.qkv);
            kernels_.add(y, s.qkv, (size_t)outputs * kTokensAtOnce);
        }
        scatter(y, call.y, first, count, outputs, kTokensAtOnce);
    });
}

void Operators::moments(const MomentsCall& call) {
    in_chunks(call.rows, sizes_of(call.channels), [&](int64_t first, int count, Scratch& s) {
        gather(call.x, first, count, call.channels, kTokensAtOnce, s.rows);
        kernels_.moments(s.rows, call.channels, s.hidden, s.qkv);
        scatter(call.variance ? s.qkv : s.hidden, call.y, first, count, 1, kTokensAtOnce);
    });
}

// Each part of the rows has its own sum, and the parts are added in a fixed order: the sum does not depend on the
// number of threads.
constexpr int kParts = 16, kMostLanes = 16;

// Call `work` with the first row and the number of rows of each chunk of a part.
template <class Work>
static void in_part(int64_t rows, int64_t part, int64_t parts, const Work& work) {
    const int64_t chunks = (rows + kTokensAtOnce - 1) / kTokensAtOnce;
    for (int64_t chunk = chunks * part / parts; chunk < chunks * (part + 1) / parts; chunk++) {
        const int64_t first = chunk * kTokensAtOnce;
        work(first, (int)std::min<int64_t>(kTokensAtOnce, rows - first));
    }
}

// Add up the lanes of each part, `size` floats after one another.
static float total(const float* sums, int64_t parts, size_t size, int lanes) {
    float sum = 0;
    for (int64_t part = 0; part < parts; part++)
        for (int lane = 0; lane < lanes; lane++) sum += sums[part * size + lane];
    return sum;
}

void Operators::reduction(const ReductionCall& call) {
    const int64_t parts = call.groups < kParts ? kParts : 1;
    const size_t size = (size_t)call.channels * kernels_.lanes;
    of_rows_.reserve(sizes_of(call.channels));
    std::vector<float> sums(call.groups * parts * size);
    pool_.run((int)(call.groups * parts), [&](int number, int thread) {
        Scratch& s = of_rows_[thread];
        const int64_t group = number / parts;
        in_part(call.rows, number % parts, parts, [&](int64_t first, int count) {
            gather(call.x, group * call.rows + first, count, call.channels, kTokensAtOnce, s.rows);
            kernels_.reduce(s.rows, call.channels, call.root, sums.data() + number * size);
        });
    });
    for (int64_t i = 0; i < call.groups * call.channels; i++) {
        const int64_t group = i / call.channels, channel = i % call.channels;
        const float* const of_channel = sums.data() + group * parts * size + channel * kernels_.lanes;
        const float sum = total(of_channel, parts, size, kernels_.lanes);
        call.y.data[i] = call.root ? std::sqrt(sum) : sum * call.factor;
    }
}

void Operators::gram(const GramCall& call) {
    const int channels = call.heads * call.channels;
    const size_t size = (size_t)channels * call.channels;
    of_rows_.reserve(sizes_of(channels, call.channels));
    std::vector<float> sums(kParts * size * kMostLanes);
    pool_.run(kParts, [&](int part, int thread) {
        Scratch& s = of_rows_[thread];
        in_part(call.rows, part, kParts, [&](int64_t first, int count) {
            gather(call.q.x, first, count, channels, kTokensAtOnce, s.rows);
            gather(call.k.x, first, count, channels, kTokensAtOnce, s.hidden);
            kernels_.gram(call, count, sums.data() + part * size * kMostLanes, s);
        });
    });
    for (size_t i = 0; i < size; i++)
        call.y.data[i] = total(sums.data() + i * kernels_.lanes, kParts, size * kMostLanes, kernels_.lanes);
}

void Operators::mix(const MixCall& call) {
    const int channels = call.heads * call.channels;
    in_chunks(call.rows, sizes_of(channels, call.channels), [&](int64_t first, int count, Scratch& s) {
        gather(call.v.x, first, count, channels, kTokensAtOnce, s.rows);
        kernels_.mix(call, s);
        scatter(s.hidden, call.y, first, count, channels, kTokensAtOnce);
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
