// Register-blocked products: R rows of the weight × 4 vectors of lanes at a time, for codes × kCodeVectors.

// As many rows as the registers hold sums. With 16 registers codes take 4 × 2: a step then loads 6 operands for 8
// products.
constexpr bool kMany = kRegisters == 32;
constexpr int kFloatRows = kMany ? 6 : 3, kPairRows = kMany ? 5 : 2;
constexpr int kCodeRows = kMany ? 6 : 4, kCodeVectors = kMany ? 4 : 2;

// Call `body` with R = MOST as often as it fits, then once with the remainder.
template <int MOST, class Body>
INLINE void in_blocks(int rows, Body body) {
    int row = 0;
    for (; row + MOST <= rows; row += MOST) body(Count<MOST>(), row);
    switch (rows - row) {
        case 5: return body(Count<(MOST > 5 ? 5 : 1)>(), row);
        case 4: return body(Count<(MOST > 4 ? 4 : 1)>(), row);
        case 3: return body(Count<(MOST > 3 ? 3 : 1)>(), row);
        case 2: return body(Count<(MOST > 2 ? 2 : 1)>(), row);
        case 1: return body(Count<1>(), row);
    }
}

// A tile of R rows × 4 vectors. It is a separate function, so that its sums can use all registers.
template <int R, class Done>
OUTLINED static void float_tile(const float* const (&w)[R], size_t step, int row, const float* x, int K, int T, int lane,
                                Done done) {
    F sums[R][4];
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int i = 0; i < 4; i++) sums[r][i] = all(0.0f);
    x += lane;
    for (int k = 0; k < K; k++, x += T) {
        F values[4];
        UNROLL for (int i = 0; i < 4; i++) values[i] = load(x + i * W);
        UNROLL for (int r = 0; r < R; r++) {
            F factor = all(w[r][k * step]);
            UNROLL for (int i = 0; i < 4; i++) sums[r][i] = fma(values[i], factor, sums[r][i]);
        }
    }
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int i = 0; i < 4; i++) done(row + r, lane + i * W, sums[r][i]);
}

// y[row] = Σ_k weight[row·row_stride + k·step] x[k], all in floats; `done(row, lane, y)` for each vector.
template <class Done>
INLINE void float_product(const float* weight, const int32_t* rows_at, size_t row_stride, size_t step, int rows,
                          const float* x, int K, int T, Done done) {
    for (int lane = 0; lane < T; lane += 4 * W)
        in_blocks<kFloatRows>(rows, [&](auto count, int row) INLINED {
            constexpr int R = decltype(count)::value;
            const float* w[R];
            for (int r = 0; r < R; r++) w[r] = weight + (rows_at ? rows_at[row + r] : row + r) * row_stride;
            float_tile<R>(w, step, row, x, K, T, lane, done);
        });
}

#if COMPSRT_INTEGER
// Σ over `columns` of (code − centre) for each lane, as floats: out [T]. Rows up to a multiple of four have code 0.
template <class Lanes>
static void sums_of_codes(const uint8_t* codes, int columns, int centre, Lanes T, float* out) {
    const I ones = all_bytes(1);
    const int padded = (columns + 3) & ~3;
    for (int lane = 0; lane < T; lane += W) {
        Sum total = dot_begin(kCodeShift * padded - centre * columns);
        for (int row = 0; row < padded; row += 4)
            total = dot(total, load_codes(codes + (size_t)row * T + lane * 4), ones);
        store(out + lane, to_float(dot_end(total)));
    }
}

// R rows, kCodeVectors vectors of lanes at a time. It is a separate function, so that its sums can use all registers.
template <int R, class Lanes, class Done>
OUTLINED static void code_rows(const Linear& l, int row, const uint8_t* codes, const float* code_sums,
                               const float* units, Lanes T, Done done) {
    const int padded = (l.columns + 3) & ~3;
    const int8_t* const weights = l.codes + (size_t)row * padded;
    // read once: the compiler must assume that `done` overwrites them
    const int32_t *const start = l.start + row, *const kept = l.kept_rows ? l.kept_rows + row : nullptr;
    const float *const alpha = l.alpha + row, *const beta = l.beta + row, *const gamma = l.gamma + row, *const bias = l.bias;
    for (int lane = 0; lane < T; lane += kCodeVectors * W) {
        Sum sums[R][kCodeVectors];
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int i = 0; i < kCodeVectors; i++) sums[r][i] = dot_begin(start[r]);
        const uint8_t* from = codes + lane * 4;
        const int8_t* w = weights;
#pragma GCC unroll 2  // two steps; other loops are unrolled completely
        for (int k = 0; k < padded; k += 4, from += 4 * T, w += 4) {
            I values[kCodeVectors];
            UNROLL for (int i = 0; i < kCodeVectors; i++) values[i] = load_codes(from + i * W * 4);
            UNROLL for (int r = 0; r < R; r++) {
                I factor = broadcast4(w + r * padded);
                UNROLL for (int i = 0; i < kCodeVectors; i++) sums[r][i] = dot(sums[r][i], values[i], factor);
            }
        }
        UNROLL for (int r = 0; r < R; r++) {
            const int at = kept ? kept[r] : row + r;
            const F a = all(alpha[r]), b = all(beta[r]), g = all(gamma[r]), constant = all(bias[at]);
            UNROLL for (int i = 0; i < kCodeVectors; i++) {
                const int to = lane + i * W;
                done(at, to, finished(dot_end(sums[r][i]), a, b, g, load(code_sums + to), load(units + to), constant));
            }
        }
    }
}

template <class Lanes, class Done>
INLINE void code_product(const Linear& l, const uint8_t* codes, const float* code_sums, const float* units, Lanes T,
                         Scratch& s, Done done) {
#if COMPSRT_SPARSE
    if (l.sparse) {
        lay_out_pairs(codes, (l.columns + 3) / 4, T, s.code_pairs);
        return in_blocks<kSparseRows>(l.rows, [&](auto count, int row) INLINED {
            sparse_rows<decltype(count)::value>(l, row, s.code_pairs, code_sums, units, T, done);
        });
    }
#endif
    in_blocks<kCodeRows>(l.rows, [&](auto count, int row) INLINED {
        code_rows<decltype(count)::value>(l, row, codes, code_sums, units, T, done);
    });
}
#endif
