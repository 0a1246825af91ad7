// Values → codes r = clamp(round((x̃ − Z) / s), 0, top), and back.

struct Coder {
    F scale, offset, top;
    explicit Coder(const Quantizer& q)
        : scale(all(q.code_scale)), offset(all(q.code_offset)), top(all((float)q.top)) {}
    // Not yet rounded, limited from above; what packs the codes rounds them and makes negative ones 0.
    INLINED F raw(F x) const { return smaller(fma(x, scale, offset), top); }
    INLINED F code(F x) const { return nearest(larger(raw(x), all(0.0f))); }
};

// Replace the rows of x [m][T], transformed but not normalized, by s·r + Z.
static void decode_in_place(const Quantizer& q, float* x, int rows, int T) {
    const Coder coder(q);
    const F scale = all(q.scale), zero = all(q.zero);
    for (size_t i = 0; i < (size_t)rows * T; i += W) store(x + i, fma(coder.code(load(x + i)), scale, zero));
}

static void multiply(float* x, float factor, int rows, int T) {
    const F f = all(factor);
    for (size_t i = 0; i < (size_t)rows * T; i += W) store(x + i, load(x + i) * f);
}

static void fill(float* x, float value, size_t count) {
    for (size_t i = 0; i < count; i++) x[i] = value;
}

static float root(int m) { return __builtin_sqrtf((float)m); }

// Quantize `rows` rows of x in floats, in place, x with room for q.width rows: in the quantizer's domain, or back in
// the original one if `inverse`. Returns the rows there are then.
static int simulate(const Quantizer& q, int inverse, float* x, int rows, int T) {
    if (!q.top) return rows;
    const int m = q.width;
    if (q.transform) {
        fill(x + (size_t)rows * T, 0, (size_t)(m - rows) * T);
        hadamard_in_place(x, m, T);
    }
    decode_in_place(q, x, m, T);
    if (!q.transform || !inverse) return m;
    if (q.transform == kSoftmax) fill(x, 1 / root(m), T);  // the coefficient that rows of sum 1 all have
    hadamard_in_place(x, m, T);
    multiply(x, 1 / root(m), rows, T);
    return rows;
}

#if COMPSRT_INTEGER
// Codes of neighbouring rows, in groups of four: out [rows / 4][T][4].
template <int R>
INLINE void put_codes(const Coder& coder, F (&v)[R], uint8_t* out, int row, int T) {
    F zero = all(0.0f);
    if constexpr (R >= 4) {
#pragma GCC unroll 4
        for (int r = 0; r < R; r += 4)
            istore(out + (size_t)(row + r) * T,
                   codes4(coder.raw(v[r]), coder.raw(v[r + 1]), coder.raw(v[r + 2]), coder.raw(v[r + 3])));
    } else {
        istore(out, codes4(coder.raw(v[0]), R > 1 ? coder.raw(v[R - 1]) : zero, zero, zero));
    }
}

// Codes of `rows` rows of x [·][T] in their quantizer's domain; x is worked on in place if that has more than 16 rows.
static void encode(const Quantizer& q, float* x, int rows, int T, uint8_t* out) {
    const Coder coder(q);
    const int m = q.width;
    if (q.transform && m > 16) fill(x + (size_t)rows * T, 0, (size_t)(m - rows) * T);
    for (int lane = 0; lane < T; lane += W) {
        uint8_t* column = out + lane * 4;
        auto sink = [&](int row, auto& v) INLINED { put_codes(coder, v, column, row, T); };
        if (q.transform)
            hadamard(x + lane, rows, m, T, sink);
        else
            untransformed(x + lane, rows, T, sink);
    }
}

// Codes of those rows of x [m][T], already transformed, that `kept` names.
static void encode_kept(const Quantizer& q, const float* x, const int32_t* kept, int count, int T, uint8_t* out) {
    const Coder coder(q);
    for (int row = 0; row < count; row += 4)
        for (int lane = 0; lane < T; lane += W) {
            F v[4];
            for (int r = 0; r < 4; r++)
                v[r] = row + r < count ? coder.raw(load(x + (size_t)kept[row + r] * T + lane)) : all(0.0f);
            istore(out + (size_t)row * T + lane * 4, codes4(v[0], v[1], v[2], v[3]));
        }
}
#endif
