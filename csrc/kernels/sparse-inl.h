// Products with 2:4 sparse weights: at most two of every four neighbours are not zero. All six pairs of each four codes
// are laid out once. The two weights that are left then take one product, at the address of their pair, and a vector
// holds twice as many tokens.

// codes [groups][T][4] → out [groups][6][T][2]; `sums_low` and `sums_high` undo the order within 2 W tokens.
template <class Lanes>
static void lay_out_pairs(const uint8_t* codes, int groups, Lanes T, uint8_t* out) {
    const I orders[3] = {in_each_16(0, 1, 2, 3), in_each_16(0, 2, 1, 3), in_each_16(0, 3, 1, 2)};
    for (int group = 0; group < groups; group++, codes += 4 * T, out += 12 * T)
        for (int lane = 0; lane < T; lane += 2 * W) {
            const I first = iload(codes + 4 * lane), second = iload(codes + 4 * lane + 4 * W);
            UNROLL for (int i = 0; i < 3; i++) {
                const I a = bytes_at(first, orders[i]), b = bytes_at(second, orders[i]);
                istore(out + (size_t)(2 * i * T + lane) * 2, low_quarters(a, b));
                istore(out + (size_t)((2 * i + 1) * T + lane) * 2, high_quarters(a, b));
            }
        }
}

constexpr int kSparseRows = 2, kSparseVectors = 32 / W;  // 64 lanes

// Compute R rows for 64 lanes at a time.
template <int R, class Lanes, class Done>
OUTLINED static void sparse_rows(const Linear& l, int row, const uint8_t* pairs, const float* code_sums, const float* units,
                               Lanes T, Done done) {
    const int groups = (l.columns + 3) / 4;
    const TwoOfFour* const weights = l.sparse + (size_t)row * groups;
    const int32_t *const start = l.start + row, *const kept = l.kept_rows ? l.kept_rows + row : nullptr;
    const float *const alpha = l.alpha + row, *const beta = l.beta + row, *const gamma = l.gamma + row, *const bias = l.bias;
    for (int lane = 0; lane < T; lane += kSparseVectors * 2 * W) {
        Sum sums[R][kSparseVectors];
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int i = 0; i < kSparseVectors; i++) sums[r][i] = sums_begin(start[r]);
        const uint8_t* const from = pairs + 2 * lane;
        for (int k = 0; k < groups; k++)
            UNROLL for (int r = 0; r < R; r++) {
                const TwoOfFour& pair = weights[r * groups + k];
                const uint8_t* const codes = from + (size_t)pair.at * 2 * T;
                const I factor = broadcast4(pair.weights);
                UNROLL for (int i = 0; i < kSparseVectors; i++)
                    sums[r][i] = dot(sums[r][i], iload(codes + i * W * 4), factor);
            }
        UNROLL for (int r = 0; r < R; r++) {
            const int at = kept ? kept[r] : row + r;
            const F a = all(alpha[r]), b = all(beta[r]), g = all(gamma[r]), constant = all(bias[at]);
            auto finish = [&](int to, I sum) INLINED {
                done(at, to, finished(sum, a, b, g, load(code_sums + to), load(units + to), constant));
            };
            UNROLL for (int i = 0; i < kSparseVectors; i++) {
                finish(lane + 2 * i * W, sums_low(sums[r][i]));
                finish(lane + (2 * i + 1) * W, sums_high(sums[r][i]));
            }
        }
    }
}
