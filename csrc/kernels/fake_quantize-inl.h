// Fake quantization of a row, between two Hadamard transforms, in registers.
//
// A row is held as V groups of 16 floats. Sums over a tensor are 16 partial sums for each block of rows, which are then
// added in double precision in the order of the blocks: results depend neither on the level nor on the number of threads.
#include "kernels/codes-inl.h"
#include "kernels/fake_quantize.h"

constexpr int kGroup = 16, PARTS = kGroup / W;  // PARTS: vectors in a group

// x H / √m by the fast Walsh-Hadamard transform, which is its own inverse
template <int N>
INLINE void hadamard(F (&x)[N], float norm) {
    UNROLL for (int i = 0; i < N; i++) {
        x[i] = lane_butterfly<2>(lane_butterfly<1>(x[i]));
        if constexpr (W > 4) x[i] = lane_butterfly<4>(x[i]);
        if constexpr (W > 8) x[i] = lane_butterfly<8>(x[i]);
    }
    UNROLL for (int stride = 1; stride < N; stride *= 2)
        UNROLL for (int i = 0; i < N; i++)
            if (!(i & stride)) butterfly(x[i], x[i + stride]);
    UNROLL for (int i = 0; i < N; i++) x[i] = x[i] * all(norm);
}

template <int N>
INLINE void apply_signs(F (&x)[N], const float* signs) {
    if (signs) UNROLL for (int i = 0; i < N; i++) x[i] = x[i] * load(signs + i * W);
}

// x D H / √m with D the diagonal matrix of signs, and its inverse
template <int N>
INLINE void to_domain(F (&x)[N], const FakeQuantize& q, float norm) {
    if (!q.transform) return;
    apply_signs(x, q.signs);
    hadamard(x, norm);
}

template <int N>
INLINE void from_domain(F (&x)[N], const FakeQuantize& q, float norm) {
    if (!q.transform) return;
    hadamard(x, norm);
    apply_signs(x, q.signs);
}

// Not inlined: only one vector of a row can be incomplete, and inlined copies took most of the compile time.
OUTLINED static F load_rest(const float* from, int count) { return load_some(from, count); }
OUTLINED static void store_rest(float* to, F x, int count) { store_some(to, x, count); }

template <int N>
INLINE void load_row(F (&x)[N], const float* from, int width) {
    UNROLL for (int i = 0; i < N; i++, from += W, width -= W)
        x[i] = width >= W ? load(from) : width > 0 ? load_rest(from, width) : all(0.0f);
}

template <int N>
INLINE void store_row(const F (&x)[N], float* to, int width) {
    UNROLL for (int i = 0; i < N; i++, to += W, width -= W)
        if (width >= W)
            store(to, x[i]);
        else if (width > 0)
            store_rest(to, x[i], width);
}

// The largest magnitude of a transformed row, without coefficient 0 if that is known.
template <int N>
INLINE float magnitude_of(const F (&x)[N], Transform transform) {
    F most = all(kSmallestUnit);
    UNROLL for (int i = 0; i < N; i++) {
        F size = magnitude(x[i]);
        if (i == 0 && transform == kSoftmax) size[0] = 0.0f;
        most = larger(most, size);
    }
    if constexpr (W > 8) most = larger(most, swapped<8>(most));
    if constexpr (W > 4) most = larger(most, swapped<4>(most));
    most = larger(most, swapped<2>(most));
    return larger(most, swapped<1>(most))[0];
}

// One row's scale and zero point.
struct RowScale {
    float unit;  // unit of the quantizer's scale and zero point
    F scale, zero, inverse, top;
    bool transformed;

    template <int N>
    INLINED RowScale(const FakeQuantize& q, int64_t row, const F (&x)[N])
        : unit(q.per_token ? magnitude_of(x, q.transform) : 1.0f), transformed(q.transform) {
        const float s = q.scale[row * q.per_row] * unit;
        scale = all(s);
        zero = all(q.zero_point[row * q.per_row] * unit);
        inverse = all(1.0f / s);
        top = all(q.top);
    }

    INLINED F position(F x) const { return transformed ? multiplied(x, inverse, zero) : divided(x, scale, zero); }
    INLINED F code(F t) const { return code_of(t, top); }
    INLINED F value(F code) const { return value_of(code, scale, zero); }
    // values where t lies in [0, top], 0 elsewhere
    INLINED F where_inside(F t, F values) const { return ((t >= all(0.0f)) & (t <= top)) ? values : all(0.0f); }
};

template <int V>
INLINE int output_width(const FakeQuantize& q) {
    return q.transform && !q.invert ? V * kGroup : q.width;
}

template <int N>
INLINE void finish(F (&x)[N], const FakeQuantize& q, float norm) {
    if (q.transform == kSoftmax) x[0][0] = norm;
    if (q.invert) from_domain(x, q, norm);
}

template <int V>
static void forward_rows(const FakeQuantize& q, const float* x, float* y, int64_t from, int64_t to, float norm) {
    const int width_out = output_width<V>(q);
    for (int64_t row = from; row < to; row++) {
        F t[V * PARTS];
        load_row(t, x + row * q.width, q.width);
        to_domain(t, q, norm);
        const RowScale scale(q, row, t);
        UNROLL for (int i = 0; i < V * PARTS; i++) t[i] = scale.value(scale.code(scale.position(t[i])));
        finish(t, q, norm);
        store_row(t, y + row * width_out, width_out);
    }
}

struct Sums {
    F part[PARTS];
    Sums() {
        for (int p = 0; p < PARTS; p++) part[p] = all(0.0f);
    }
    INLINED void add(const Sums& other, float factor) {
        UNROLL for (int p = 0; p < PARTS; p++) part[p] = part[p] + other.part[p] * all(factor);
    }
    INLINED double total() const {
        double sum = 0;
        for (int i = 0; i < kGroup; i++) sum += part[i / W][i % W];
        return sum;
    }
};

// d x̂ / d s = r − t inside, r outside; d x̂ / d Z = 0 inside, 1 outside; d x̂ / d x = 1 inside, 0 outside
template <int V>
static void backward_rows(const FakeQuantize& q, const float* x, const float* grad, const FakeQuantizeGradients& to,
                          double* grad_scale, double* grad_zero, int64_t from, int64_t end, float norm) {
    const int width_out = output_width<V>(q);
    Sums all_scale, all_zero;
    for (int64_t row = from; row < end; row++) {
        F t[V * PARTS], g[V * PARTS];
        Sums of_scale, of_zero;
        load_row(t, x + row * q.width, q.width);
        load_row(g, grad + row * width_out, width_out);
        to_domain(t, q, norm);
        const RowScale scale(q, row, t);
        if (q.invert) to_domain(g, q, norm);
        if (q.transform == kSoftmax) g[0][0] = 0.0f;
        UNROLL for (int i = 0; i < V * PARTS; i++) {
            const F u = scale.position(t[i]), r = scale.code(u), inside = scale.where_inside(u, g[i]);
            of_scale.part[i % PARTS] = of_scale.part[i % PARTS] + (r * g[i] - u * inside);
            of_zero.part[i % PARTS] = of_zero.part[i % PARTS] + (g[i] - inside);
            g[i] = inside;
            t[i] = scale.value(r);
        }
        from_domain(g, q, norm);
        store_row(g, to.x + row * q.width, q.width);
        if (to.y) {
            finish(t, q, norm);
            store_row(t, to.y + row * width_out, width_out);
        }
        if (q.per_row) {
            grad_scale[row] = of_scale.total();
            grad_zero[row] = of_zero.total();
        } else {
            all_scale.add(of_scale, scale.unit);
            all_zero.add(of_zero, scale.unit);
        }
    }
    if (!q.per_row) {
        *grad_scale = all_scale.total();
        *grad_zero = all_zero.total();
    }
}

constexpr int64_t kBlock = 64;  // rows that are summed in single precision

INLINE int64_t end_of(int64_t block, int64_t rows) { return (block + 1) * kBlock < rows ? (block + 1) * kBlock : rows; }

template <int V>
static int forward(const FakeQuantize& q, const float* x, float* y, float norm) {
    const int64_t blocks = (q.rows + kBlock - 1) / kBlock;
#pragma omp parallel for schedule(static) num_threads(q.threads) if (q.threads > 1)
    for (int64_t block = 0; block < blocks; block++)
        forward_rows<V>(q, x, y, block * kBlock, end_of(block, q.rows), norm);
    return 1;
}

template <int V>
static int backward(const FakeQuantize& q, const float* x, const float* grad, const FakeQuantizeGradients& to,
                    float norm) {
    const int64_t blocks = (q.rows + kBlock - 1) / kBlock;
    const int64_t places = q.per_row ? q.rows : blocks;
    double* scales = static_cast<double*>(calloc(2 * places, sizeof(double)));
    if (!scales) return 0;
    double* zeros = scales + places;
#pragma omp parallel for schedule(static) num_threads(q.threads) if (q.threads > 1)
    for (int64_t block = 0; block < blocks; block++) {
        const int64_t place = q.per_row ? 0 : block;
        backward_rows<V>(q, x, grad, to, scales + place, zeros + place, block * kBlock, end_of(block, q.rows), norm);
    }
    if (q.per_row) {
        for (int64_t row = 0; row < q.rows; row++) {
            to.scale[row] = static_cast<float>(scales[row]);
            to.zero_point[row] = static_cast<float>(zeros[row]);
        }
    } else {
        double scale = 0, zero = 0;
        for (int64_t block = 0; block < blocks; block++) {
            scale += scales[block];
            zero += zeros[block];
        }
        *to.scale = static_cast<float>(scale);
        *to.zero_point = static_cast<float>(zero);
    }
    free(scales);
    return 1;
}

static float norm_of(int vectors) { return 1.0f / __builtin_sqrtf(static_cast<float>(vectors * kGroup)); }

static int fake_quantize(const FakeQuantize& q, const float* x, float* y) {
    switch (q.vectors) {
        case 1: return forward<1>(q, x, y, norm_of(1));
        case 2: return forward<2>(q, x, y, norm_of(2));
        case 4: return forward<4>(q, x, y, norm_of(4));
        case 8: return forward<8>(q, x, y, norm_of(8));
        case 16: return forward<16>(q, x, y, norm_of(16));
        default: return 0;
    }
}

static int fake_quantize_backward(const FakeQuantize& q, const float* x, const float* grad,
                                  const FakeQuantizeGradients& to) {
    switch (q.vectors) {
        case 1: return backward<1>(q, x, grad, to, norm_of(1));
        case 2: return backward<2>(q, x, grad, to, norm_of(2));
        case 4: return backward<4>(q, x, grad, to, norm_of(4));
        case 8: return backward<8>(q, x, grad, to, norm_of(8));
        case 16: return backward<16>(q, x, grad, to, norm_of(16));
        default: return 0;
    }
}
