// Quantization of whole windows, whose lanes are tokens: to codes in bytes for integer products, or to float values.
#include "kernels/codes-inl.h"

struct Coder {
    F scale, offset;
    int top;
    Coder() = default;
    explicit Coder(const Quantizer& q)
        : scale(all(q.code_scale)), offset(all(q.code_offset)), top(q.top) {}
    Coder(const Quantizer& q, F unit) : Coder(q) { scale = scale / unit; }  // of lanes with per-token units
    // Neither rounded nor clamped: packing does both, four codes at a time. On x86 a value 2^31 scales beyond the bounds
    // gets code 0 instead of `top`; the error is negligible at this magnitude.
    INLINED F raw(F x) const { return folded(x, scale, offset); }
    INLINED F code(F x) const { return code_of(raw(x), all((float)top)); }
};

static float root(int m) { return __builtin_sqrtf((float)m); }

#if COMPSRT_INTEGER
// The output of a row of a linear layer: unit (alpha Σ r'w' + beta Σ r' + gamma) + bias.
INLINE F finished(I sum, F alpha, F beta, F gamma, F codes, F unit, F bias) {
    return fma(fma(to_float(sum), alpha, fma(codes, beta, gamma)), unit, bias);
}
#endif

// In pairs: one chain of maxima would be limited by its latency.
template <int R>
INLINE F widest(F unit, const F (&v)[R]) {
    F most[R];
    UNROLL for (int r = 0; r < R; r++) most[r] = magnitude(v[r]);
    UNROLL for (int half = R / 2; half >= 1; half /= 2)
        UNROLL for (int r = 0; r < half; r++) most[r] = larger(most[r], most[r + half]);
    return larger(unit, most[0]);
}

// The largest magnitude of a lane of x [rows][T] from row `from` on.
INLINE F unit_of(const float* x, int from, int rows, int T) {
    F most = all(kSmallestUnit);
    for (int row = from; row < rows; row++) most = larger(most, magnitude(load(x + (size_t)row * T)));
    return most;
}

// Replace the rows of x [rows][T], transformed but not normalized, by s·r + Z.
static void decode_in_place(const Quantizer& q, float* x, int rows, int T) {
    for (int lane = 0; lane < T; lane += W) {
        F unit = all(1.0f);
        if (q.per_token) unit = unit_of(x + lane, q.transform == kSoftmax, rows, T);
        const Coder coder(q, unit);
        if (q.per_token && q.transform) unit = unit * all(1 / root(q.width));
        const F scale = all(q.scale) * unit, zero = all(q.zero) * unit;
        for (int row = 0; row < rows; row++) {
            float* p = x + (size_t)row * T + lane;
            store(p, value_of(coder.code(load(p)), scale, zero));
        }
    }
}

static void multiply(float* x, float factor, int rows, int T) {
    const F f = all(factor);
    for (size_t i = 0; i < (size_t)rows * T; i += W) store(x + i, load(x + i) * f);
}

static void fill(float* x, float value, size_t count) {
    for (size_t i = 0; i < count; i++) x[i] = value;
}

static void to_domain(const Quantizer& q, float* x, int rows, int T) {
    if (!q.transform) return;
    fill(x + (size_t)rows * T, 0, (size_t)(q.width - rows) * T);
    hadamard_in_place(x, q.width, T);
}

// Fake-quantize `rows` rows of x in place; x has room for q.width rows. The result is in the quantizer's domain, or with
// `inverse` transformed back. Return its number of rows.
static int simulate(const Quantizer& q, int inverse, float* x, int rows, int T) {
    if (!q.top) return rows;
    const int m = q.width;
    to_domain(q, x, rows, T);
    decode_in_place(q, x, m, T);
    if (!q.transform || !inverse) return m;
    if (q.transform == kSoftmax) fill(x, 1 / root(m), T);  // the first coefficient of every row with sum 1
    hadamard_in_place(x, m, T);
    multiply(x, 1 / root(m), rows, T);
    return rows;
}

#if COMPSRT_INTEGER
// Codes of neighbouring rows, in groups of four: out [rows / 4][T][4].
template <int R>
INLINE void put_codes(const Coder& coder, F (&v)[R], uint8_t* out, int row, int T) {
    const F zero = all(0.0f);
    const I top = all_bytes(coder.top);
    if constexpr (R >= 4) {
        UNROLL for (int r = 0; r < R; r += 4)
            istore(out + (size_t)(row + r) * T,
                   codes4(coder.raw(v[r]), coder.raw(v[r + 1]), coder.raw(v[r + 2]), coder.raw(v[r + 3]), top));
    } else {
        istore(out, codes4(coder.raw(v[0]), R > 1 ? coder.raw(v[R - 1]) : zero, zero, zero, top));
    }
}

// Codes of `rows` rows of x [·][T] for N quantizers with the same transform, all of them per token or none.
// x is overwritten if the domain has more than 16 rows. unit [T]: the unit of each lane, 1 if not per token.
template <int N, class Lanes>
static void encode(const Quantizer* const (&q)[N], float* x, int rows, Lanes T, uint8_t* const (&out)[N], float* unit) {
    const int m = q[0]->width;
    const bool transform = q[0]->transform, in_memory = transform && m > 16;
    if (in_memory) fill(x + (size_t)rows * T, 0, (size_t)(m - rows) * T);
    Coder coders[N];
    auto take_unit = [&](F unit) INLINED {
        UNROLL for (int i = 0; i < N; i++) coders[i] = Coder(*q[i], unit);
    };
    take_unit(all(1.0f));
    for (int lane = 0; lane < T; lane += W) {
        float* column = x + lane;
        F most = all(q[0]->per_token ? kSmallestUnit : 1.0f);
        auto coded = [&](int row, auto& v) INLINED {
            UNROLL for (int i = 0; i < N; i++) put_codes(coders[i], v, out[i] + lane * 4, row, T);
        };
        if (!q[0]->per_token) {
            if (transform)
                hadamard(column, rows, m, T, coded);
            else
                untransformed(column, rows, T, coded);
        } else if (in_memory) {
            hadamard(column, rows, m, T, [&](int row, auto& v) INLINED {
                most = widest(most, v);
                put_rows(v, column, row, T);
            });
            take_unit(most);
            untransformed(column, m, T, coded);
        } else if (transform) {
            hadamard(column, rows, m, T, [&](int row, auto& v) INLINED {  // once, for all rows
                most = widest(most, v);
                take_unit(most);
                coded(row, v);
            });
        } else {
            most = unit_of(column, 0, rows, T);
            take_unit(most);
            untransformed(column, rows, T, coded);
        }
        store(unit + lane, most);
    }
}

// Codes of the rows `kept` of x [m][T], already transformed.
static void encode_kept(const Quantizer& q, const float* x, const int32_t* kept, int count, int T, uint8_t* out,
                        float* unit) {
    for (int lane = 0; lane < T; lane += W) {
        F most = all(q.per_token ? kSmallestUnit : 1.0f);
        for (int row = 0; q.per_token && row < count; row++)
            most = larger(most, magnitude(load(x + (size_t)kept[row] * T + lane)));
        const Coder coder(q, most);
        for (int row = 0; row < count; row += 4) {
            F v[4];
            for (int r = 0; r < 4; r++)
                v[r] = row + r < count ? coder.raw(load(x + (size_t)kept[row + r] * T + lane)) : all(0.0f);
            istore(out + (size_t)row * T + lane * 4, codes4(v[0], v[1], v[2], v[3], all_bytes(q.top)));
        }
        store(unit + lane, most);
    }
}
#endif
