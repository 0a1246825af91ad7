// The selective scan (Gu and Dao, arXiv 2312.00752), eight channels at a time.
//
//     d_t = softplus(delta_t + bias)
//     h_t = exp(d_t A) h_{t-1} + d_t u_t B_t
//     y_t = <C_t, h_t> + D u_t
//
// Channels do not depend on each other, so a vector holds eight of them, and their states stay in registers. Sums over
// channels (gradients of B and C) and over the batch are computed at the end in a fixed order: results depend neither on
// the level nor on the number of threads.
#include "kernels/selective_scan.h"

namespace scan_kernel {

constexpr int WIDTH = 8;     // channels in a vector
constexpr int SEGMENT = 32;  // steps between two states that the backward pass keeps

typedef float Vec __attribute__((vector_size(4 * WIDTH)));
typedef int32_t Bits __attribute__((vector_size(4 * WIDTH)));

inline Vec all(float value) { return value - Vec{}; }

inline Vec load(const float* from, int count) {
    Vec x{};
    if (count == WIDTH)
        memcpy(&x, from, sizeof x);
    else
        memcpy(&x, from, sizeof(float) * count);
    return x;
}

inline void store(float* to, const Vec& x, int count) {
    if (count == WIDTH)
        memcpy(to, &x, sizeof x);
    else
        memcpy(to, &x, sizeof(float) * count);
}

inline float total(const Vec& x) { return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7])); }

// exp(x) to two units in the last place: x = n ln 2 + r, exp(r) by Cephes' polynomial. 0 below -87, infinite above 88;
// NaN stays NaN.
inline Vec exponential(Vec x) {
    constexpr float ROUNDING = 12582912.0f;  // 1.5 * 2^23: adding and subtracting it rounds to an integer
    const Vec inside = x < -87.0f ? all(-87.0f) : (x > 88.0f ? all(88.0f) : x);
    const Vec shifted = inside * 1.44269504f + ROUNDING, n = shifted - ROUNDING;
    const Vec r = (inside - n * 0.693359375f) - n * -2.12194440e-4f;
    Vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    const Bits power = (reinterpret_cast<Bits>(shifted) << 23) + (127 << 23);  // the low bits of `shifted` are n
    const Vec y = p * reinterpret_cast<Vec>(power);
    return x < -87.0f ? all(0.0f) : (x > 88.0f ? all(__builtin_inff()) : y);
}

// softplus(x) = max(x, 0) + log(1 + e), e = exp(-|x|), and its slope. log(1 + e) = 2 atanh(e / (2 + e)), whose series in
// z^2 <= 1/9 is exact to single precision after seven terms, however small e is.
inline Vec softplus(const Vec& x, Vec& slope) {
    const Vec e = exponential(x < 0.0f ? x : -x);
    const Vec z = e / (e + 2.0f), square = z * z;
    Vec series = square * (1.0f / 13) + 1.0f / 11;
    series = series * square + 1.0f / 9;
    series = series * square + 1.0f / 7;
    series = series * square + 1.0f / 5;
    series = series * square + 1.0f / 3;
    series = series * square + 1.0f;
    slope = (x < 0.0f ? e : all(1.0f)) / (e + 1.0f);
    return (x > 0.0f ? x : all(0.0f)) + 2.0f * z * series;
}

// Eight channels of one sequence
template <int STATES>
struct Block {
    const float* u, *delta, *B, *C;
    int64_t offset, channels;  // of the block's first value in an array like u, and that array's step
    int count;                 // valid channels, 1 to 8; the others compute with zeros
    Vec a[STATES], bias, skip;

    Block(const Scan& scan, int64_t sequence, int64_t first) : channels(scan.channels) {
        offset = sequence * scan.length * channels + first;
        count = channels - first < WIDTH ? static_cast<int>(channels - first) : WIDTH;
        u = scan.u + offset;
        delta = scan.delta + offset;
        B = scan.B + sequence * scan.length * STATES;
        C = scan.C + sequence * scan.length * STATES;
        bias = load(scan.delta_bias + first, count);
        skip = load(scan.D + first, count);
        for (int n = 0; n < STATES; ++n) {
            a[n] = Vec{};
            for (int i = 0; i < count; ++i) a[n][i] = scan.A[(first + i) * STATES + n];
        }
    }

    inline Vec at(const float* from, int64_t t) const { return load(from + t * channels, count); }
    inline void put(float* to, int64_t t, const Vec& x) const { store(to + t * channels, x, count); }
};

template <int STATES>
void forward_block(const Scan& scan, int64_t sequence, int64_t first, float* y) {
    const Block<STATES> block(scan, sequence, first);
    y += block.offset;
    Vec h[STATES] = {}, slope;
    for (int64_t t = 0; t < scan.length; ++t) {
        const float* B = block.B + t * STATES, *C = block.C + t * STATES;
        const Vec step = softplus(block.at(block.delta, t) + block.bias, slope), u = block.at(block.u, t);
        const Vec input = step * u;
        Vec sum = block.skip * u;
        UNROLL for (int n = 0; n < STATES; ++n) {
            h[n] = exponential(step * block.a[n]) * h[n] + input * B[n];
            sum += h[n] * C[n];
        }
        block.put(y, t, sum);
    }
}

// The values of the forward pass at each step of a segment, recomputed from the state before it
template <int STATES>
struct Segment {
    Vec h[SEGMENT + 1][STATES], decay[SEGMENT][STATES], step[SEGMENT], slope[SEGMENT], u[SEGMENT];

    // h[0] is given; `length` steps from `begin`
    inline void fill(const Block<STATES>& block, int64_t begin, int length) {
        for (int i = 0; i < length; ++i) {
            const float* B = block.B + (begin + i) * STATES;
            step[i] = softplus(block.at(block.delta, begin + i) + block.bias, slope[i]);
            u[i] = block.at(block.u, begin + i);
            const Vec input = step[i] * u[i];
            UNROLL for (int n = 0; n < STATES; ++n) {
                decay[i][n] = exponential(step[i] * block.a[n]);
                h[i + 1][n] = decay[i][n] * h[i][n] + input * B[n];
            }
        }
    }
};

// Gradients of one block: those of u and delta into `to`, the block's share of the others into `part`.
// kept: ceil(length / SEGMENT) * STATES vectors
template <int STATES>
void backward_block(const Scan& scan, int64_t sequence, int64_t first, const float* grad, const ScanGradients& to,
                    const ScanGradients& part, Vec* kept) {
    const Block<STATES> block(scan, sequence, first);
    const int64_t segments = (scan.length + SEGMENT - 1) / SEGMENT;
    const float* grad_y = grad + block.offset;
    float* grad_u = to.u + block.offset, *grad_delta = to.delta + block.offset;
    Segment<STATES> seen;
    memset(seen.h[0], 0, sizeof seen.h[0]);
    for (int64_t segment = 0; segment < segments; ++segment) {
        memcpy(kept + segment * STATES, seen.h[0], sizeof seen.h[0]);
        if (segment + 1 < segments) {
            seen.fill(block, segment * SEGMENT, SEGMENT);
            memcpy(seen.h[0], seen.h[SEGMENT], sizeof seen.h[0]);
        }
    }
    Vec of_h[STATES] = {}, of_a[STATES] = {}, of_skip{}, of_bias{};  // of_h: d loss / d h_t over all later steps
    for (int64_t segment = segments - 1; segment >= 0; --segment) {
        const int64_t begin = segment * SEGMENT, left = scan.length - begin;
        const int length = left < SEGMENT ? static_cast<int>(left) : SEGMENT;
        memcpy(seen.h[0], kept + segment * STATES, sizeof seen.h[0]);
        seen.fill(block, begin, length);
        for (int i = length - 1; i >= 0; --i) {
            const int64_t t = begin + i;
            const float* B = block.B + t * STATES, *C = block.C + t * STATES;
            const Vec of_y = block.at(grad_y, t), step = seen.step[i], u = seen.u[i], input = step * u;
            Vec of_step{}, of_input{};
            UNROLL for (int n = 0; n < STATES; ++n) {
                of_h[n] += of_y * C[n];
                part.C[t * STATES + n] = total(of_y * seen.h[i + 1][n]);
                part.B[t * STATES + n] = total(of_h[n] * input);
                of_input += of_h[n] * B[n];
                of_h[n] = of_h[n] * seen.decay[i][n];
                const Vec of_exponent = of_h[n] * seen.h[i][n];
                of_step += of_exponent * block.a[n];
                of_a[n] += of_exponent * step;
            }
            const Vec of_delta = (of_step + of_input * u) * seen.slope[i];
            block.put(grad_u, t, block.skip * of_y + of_input * step);
            block.put(grad_delta, t, of_delta);
            of_skip += of_y * u;
            of_bias += of_delta;
        }
    }
    store(part.D + first, of_skip, block.count);
    store(part.delta_bias + first, of_bias, block.count);
    for (int i = 0; i < block.count; ++i)
        for (int n = 0; n < STATES; ++n) part.A[(first + i) * STATES + n] = of_a[n][i];
}

inline int64_t blocks_of(const Scan& scan) { return (scan.channels + WIDTH - 1) / WIDTH; }

template <int STATES>
int forward(const Scan& scan, float* y) {
    const int64_t blocks = blocks_of(scan);
#pragma omp parallel for schedule(static) num_threads(scan.threads) if (scan.threads > 1)
    for (int64_t i = 0; i < scan.batch * blocks; ++i) forward_block<STATES>(scan, i / blocks, i % blocks * WIDTH, y);
    return 1;
}

// to[i] = sum of parts[i], parts[i + size], ..., in this order
inline void add_up(float* to, const float* parts, int64_t count, int64_t size) {
    memcpy(to, parts, sizeof(float) * size);
    for (int64_t part = 1; part < count; ++part)
        for (int64_t i = 0; i < size; ++i) to[i] += parts[part * size + i];
}

template <int STATES>
int backward(const Scan& scan, const float* grad, const ScanGradients& to) {
    const int64_t blocks = blocks_of(scan), tasks = scan.batch * blocks;
    const int64_t steps = scan.length * STATES, shared = scan.channels * (STATES + 2);
    const int64_t segments = (scan.length + SEGMENT - 1) / SEGMENT;
    // B and C: a share for each block; A, D and bias: one for each sequence. Vectors must be aligned.
    float* shares = static_cast<float *>(malloc(sizeof(float) * (2 * tasks * steps + scan.batch * shared)));
    void* room = malloc(sizeof(Vec) * (tasks * segments * STATES + 1));  // Windows has no aligned_alloc
    if (!shares || !room) {
        free(shares);
        free(room);
        return 0;
    }
    Vec* kept = reinterpret_cast<Vec *>((reinterpret_cast<uintptr_t>(room) + sizeof(Vec) - 1) / sizeof(Vec) * sizeof(Vec));
    float* of_B = shares, *of_C = of_B + tasks * steps, *of_A = of_C + tasks * steps;
    float* of_D = of_A + scan.batch * scan.channels * STATES, *of_bias = of_D + scan.batch * scan.channels;
#pragma omp parallel for schedule(static) num_threads(scan.threads) if (scan.threads > 1)
    for (int64_t i = 0; i < tasks; ++i) {
        const int64_t sequence = i / blocks, row = sequence * scan.channels;
        const ScanGradients part = {nullptr,          nullptr,    of_A + row * STATES, of_B + i * steps,
                                    of_C + i * steps, of_D + row, of_bias + row};
        backward_block<STATES>(scan, sequence, i % blocks * WIDTH, grad, to, part, kept + i * segments * STATES);
    }
    for (int64_t sequence = 0; sequence < scan.batch; ++sequence) {
        add_up(to.B + sequence * steps, of_B + sequence * blocks * steps, blocks, steps);
        add_up(to.C + sequence * steps, of_C + sequence * blocks * steps, blocks, steps);
    }
    add_up(to.A, of_A, scan.batch, scan.channels * STATES);
    add_up(to.D, of_D, scan.batch, scan.channels);
    add_up(to.delta_bias, of_bias, scan.batch, scan.channels);
    free(shares);
    free(room);
    return 1;
}

}  // namespace scan_kernel

static int selective_scan(const Scan& scan, float* y) {
    return scan.states == 8    ? scan_kernel::forward<8>(scan, y)
           : scan.states == 16 ? scan_kernel::forward<16>(scan, y)
                               : 0;
}

static int selective_scan_backward(const Scan& scan, const float* grad, const ScanGradients& to) {
    return scan.states == 8    ? scan_kernel::backward<8>(scan, grad, to)
           : scan.states == 16 ? scan_kernel::backward<16>(scan, grad, to)
                               : 0;
}
