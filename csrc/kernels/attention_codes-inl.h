// Integer attention. Lanes are T queries. Keys are K rows of the map; k and v have them in S lanes.
//
// scores  q' k' are sums of centred codes. Terms of the query alone cancel in the softmax, unless keys have units.
// map·v   With H the transform along tokens, V = H v̂ is a_v·(H w) + a constant: w, integers, are the centred codes of v
//         taken back along channels, and H w fits 16 bits. So the map is never transformed back, and
//         out[c] = out_alpha Σ_h r'[h] V[h][c] + (terms of c alone, and of Σ r' where v has a constant in every token).
//         A wider V is V = 256 upper + lower, two matrices of 16 bits: `integer_map` is 2, see map_parts in sums.py.

constexpr int kKeys = kRegisters == 32 ? 4 : 2;  // rows of the map computed at a time
constexpr int kUpper = 256;                      // weight of the upper part of a V of two parts

// Codes of one operand of one head; more than 16 rows are transformed in memory, in a copy.
template <class Lanes>
static void head_codes(const Quantizer& q, float* x, int rows, Scratch& s, Lanes T, uint8_t* out, float* unit) {
    if (q.transform && q.width > 16) {
        __builtin_memcpy(s.operands[0], x, sizeof(float) * (size_t)rows * T);
        x = s.operands[0];
    }
    encode<1>({&q}, x, rows, T, {out}, unit);
}

// Floats between rows of the map. With a pitch of a multiple of 1 KiB, a column of 256 rows would share a few sets of the
// first-level cache.
INLINE int pitch_of_map(int T) { return T >= 256 ? T + 16 : T; }
template <int N>
INLINE Count<(N >= 256 ? N + 16 : N)> pitch_of_map(Count<N>) { return {}; }

// Scores of all keys for 4 vectors of queries, and the largest score of each query.
template <bool MASKED, class Lanes, class Keys, class KeyLanes>
OUTLINED static void score_column(const Attention& a, const Window& w, const float* bias, int lane, Lanes T, Keys K,
                                  KeyLanes S, F (&largest)[4], Scratch& s) {
    const int width = (a.q.width + 3) & ~3;
    const uint8_t *qc = s.head_codes[0] + lane * 4, *kc = s.head_codes[1];
    const float *key_terms = s.small[0], *query_terms = s.small[4] + lane;
    const float *query_units = s.units[0] + lane, *key_units = s.units[1];
    F most[4];
    for (int i = 0; i < 4; i++) most[i] = largest[i];
    for (int key = 0; key < K; key += kKeys) {
        Sum sums[kKeys][4];
        UNROLL for (int r = 0; r < kKeys; r++)
            UNROLL for (int i = 0; i < 4; i++) sums[r][i] = dot_begin(s.starts[key + r]);
        for (int c = 0; c < width; c += 4) {
            I values[4];
            UNROLL for (int i = 0; i < 4; i++) values[i] = load_codes(qc + (size_t)c * T + i * W * 4);
            UNROLL for (int r = 0; r < kKeys; r++) {
                I factor = broadcast4(kc + (size_t)c * S + (key + r) * 4);
                UNROLL for (int i = 0; i < 4; i++) sums[r][i] = dot(sums[r][i], values[i], factor);
            }
        }
        UNROLL for (int r = 0; r < kKeys; r++) {
            const size_t at = (size_t)(key + r) * T + lane, to = (size_t)(key + r) * pitch_of_map(T) + lane;
            const F alpha = all(a.alpha), key_unit = all(key_units[key + r]), key_term = all(key_terms[key + r]);
            UNROLL for (int i = 0; i < 4; i++) {
                F y = fma(to_float(dot_end(sums[r][i])), alpha, load(query_terms + i * W));
                y = fma(fma(y, key_unit, key_term), load(query_units + i * W), load(bias + at + i * W));
                if (MASKED) y = y + mask_of(w, key + r, lane + i * W, T);
                most[i] = larger(most[i], y);
                store(s.scores + to + i * W, y);
            }
        }
    }
    for (int i = 0; i < 4; i++) largest[i] = most[i];
}

template <class Lanes, class Keys, class KeyLanes>
static void scores_of_codes(const Attention& a, const Window& w, int head, float* q, float* k, Lanes T, Keys K, KeyLanes S,
                            Scratch& s) {
    const int width = (a.q.width + 3) & ~3;
    uint8_t *qc = s.head_codes[0], *kc = s.head_codes[1];
    float* key_terms = s.small[0];
    head_codes(a.q, q, a.head_dim, s, T, qc, s.units[0]);
    head_codes(a.k, k, a.head_dim, s, S, kc, s.units[1]);
    // Padding rows of the last four have code 0 and must keep it after the subtraction; those of q are 0 anyway.
    const I centre = all_bytes(a.k.centre), ones = all_bytes(1);
    const int filled = (width - a.q.width) * a.k.centre;
    for (int lane = 0; lane < S; lane += W) {
        Sum total = dot_begin(filled);
        for (int c = 0; c < width; c += 4) {
            uint8_t* p = kc + (size_t)c * S + lane * 4;
            I codes = subtract_bytes(iload(p), centre);
            istore(p, codes);
            total = dot(total, ones, codes);
        }
        F sums = to_float(dot_end(total));
        store(key_terms + lane, sums * all(a.key_beta) * load(s.units[1] + lane));
        istore(s.starts + lane, to_int(sums * all((float)(kCodeShift - a.q.centre))));
    }
    float* query_terms = s.small[4];
    if (a.k.per_token) {
        sums_of_codes(qc, a.q.width, a.q.centre, T, query_terms);
        for (int lane = 0; lane < T; lane += W)
            store(query_terms + lane, fma(load(query_terms + lane), all(a.query_beta), all(a.gamma)));
    } else {
        fill(query_terms, 0, T);
    }
    s.end(kQuantize);
    const float* bias = a.bias + (size_t)head * K * T;
    for (int lane = 0; lane < T; lane += 4 * W) {
        F most[4];
        for (int i = 0; i < 4; i++) most[i] = all(-3e38f);
        if (w.masked)
            score_column<true>(a, w, bias, lane, T, K, S, most, s);
        else
            score_column<false>(a, w, bias, lane, T, K, S, most, s);
        for (int i = 0; i < 4; i++) store(s.small[1] + lane + i * W, most[i]);
    }
    if (a.integer_map) return;
    for (int row = 1; row < K; row++)  // float code expects rows without a gap
        __builtin_memmove(s.scores + (size_t)row * T, s.scores + (size_t)row * pitch_of_map(T), sizeof(float) * T);
}

// Softmax, transform and quantization of the map: 16-bit codes, two rows a lane, in s.pairs [rows / 2][pitch]. The factor
// 1 / Σ exp is part of the quantizer's scale, or of the unit of the query (s.units[2]).
template <class Lanes, class Keys>
OUTLINED static void map_codes(const Attention& a, Lanes T, Keys K, Scratch& s) {
    const auto P = pitch_of_map(T);
    const F offset = all(a.map.code_offset), zero = all(0.0f);
    const I top = iall(a.map.top << 16 | a.map.top);
    for (int lane = 0; lane < T; lane += W) {
        const F most = load(s.small[1] + lane);
        float* column = s.scores + lane;
        F total = zero;
        auto exponentials = [&](auto& v) INLINED {
            constexpr int R = sizeof v / sizeof v[0], STEP = R < 4 ? R : 4;
            UNROLL for (int r = 0; r < R; r += STEP) {
                F e[STEP];
                UNROLL for (int i = 0; i < STEP; i++) e[i] = v[r + i] - most;
                power_of_two(e);
                UNROLL for (int i = 0; i < STEP; i++) total = total + (v[r + i] = e[i]);
            }
        };
        auto exponential = [&](const float* p) INLINED {
            F e[1] = {load(p)};
            exponentials(e);
            return e[0];
        };
        const auto pack = [&](int row, F even, F odd, F scale) INLINED {
            istore(s.pairs + (size_t)(row / 2) * P + lane, codes2(fma(even, scale, offset), fma(odd, scale, offset), top));
        };
        if (a.map.per_token) {
            F unit = all(kSmallestUnit);
            if (a.map.transform) {
                leading_passes(column, K, P, exponentials);
                auto sink = [&](int first, F(&v)[8]) INLINED {
                    if (first == 0 && a.map.transform == kSoftmax) v[0] = zero;  // known, and not counted in the unit
                    unit = widest(unit, v);
                    put_rows(v, column, first, P);
                };
                for (int row = 0; row < K; row += 8) last_block<8>(column, row, K, P, sink);
            } else {
                for (int row = 0; row < K; row++) store(column + (size_t)row * P, exponential(column + (size_t)row * P));
                unit = unit_of(column, 0, K, P);
            }
            const F scale = all(a.map.code_scale) / unit;
            for (int row = 0; row < K; row += 2)
                pack(row, load(column + (size_t)row * P), load(column + (size_t)(row + 1) * P), scale);
            store(s.units[2] + lane, unit / total);
        } else if (a.map.transform) {
            leading_passes(column, K, P, exponentials);
            const F scale = all(a.map.code_scale) / total;
            for (int row = 0; row < K; row += 8) {
                auto sink = [&](int first, F(&v)[8]) INLINED {
                    UNROLL for (int r = 0; r < 8; r += 2) pack(first + r, v[r], v[r + 1], scale);
                };
                last_block<8>(column, row, K, P, sink);
            }
        } else {
            for (int row = 0; row < K; row++) store(column + (size_t)row * P, exponential(column + (size_t)row * P));
            const F scale = all(a.map.code_scale) / total;
            for (int row = 0; row < K; row += 2)
                pack(row, load(column + (size_t)row * P), load(column + (size_t)(row + 1) * P), scale);
        }
        if (a.map.transform == kSoftmax) {  // the first coefficient is known: its code is 0
            int32_t* first = s.pairs + lane;
            istore(first, high_half(iload(first)));
        }
    }
}

// The centred codes of v, transformed back along channels if v is transformed: w [head_dim][S] in s.operands[1], small
// integers.
template <class KeyLanes>
OUTLINED static void integer_values(const Attention& a, const float* v, KeyLanes S, Scratch& s) {
    const int rows = a.head_dim, m = a.v.width;
    const Coder coder(a.v);
    const F centre = all((float)a.v.centre);
    float *in = s.operands[0], *out = s.operands[1];
    auto code = [&](F x) INLINED { return coder.code(x) - centre; };
    if (a.v.transform && m == 16) {
        for (int lane = 0; lane < S; lane += W) {
            F x[16];
            for (int r = 0; r < 16; r++) x[r] = r < rows ? load(v + (size_t)r * S + lane) : all(0.0f);
            butterflies(x);
            for (int r = 0; r < 16; r++) x[r] = code(x[r]);
            butterflies(x);
            for (int r = 0; r < rows; r++) store(out + (size_t)r * S + lane, x[r]);
        }
        return;
    }
    __builtin_memcpy(in, v, sizeof(float) * (size_t)rows * S);
    if (a.v.transform) {
        fill(in + (size_t)rows * S, 0, (size_t)(m - rows) * S);
        hadamard_in_place(in, m, S);
    }
    for (size_t i = 0; i < (size_t)m * S; i += W) store(in + i, code(load(in + i)));
    if (a.v.transform) hadamard_in_place(in, m, S);
    __builtin_memcpy(out, in, sizeof(float) * (size_t)rows * S);
}

// Add Σ_h r'[h] V[h][c] to the sums of R channels and 4 vectors of queries; `values` is V from the first of the channels.
template <int R, class Lanes, class Keys, class KeyLanes>
INLINE void add_products(PairSum (&sums)[R][4], const int32_t* from, const int16_t* values, Lanes T, Keys K, KeyLanes S) {
    for (int row = 0; row < K; row += 2, from += pitch_of_map(T)) {
        I codes[4];
        UNROLL for (int i = 0; i < 4; i++) codes[i] = iload(from + i * W);
        UNROLL for (int r = 0; r < R; r++) {
            I factor = broadcast4(values + r * S + row);
            UNROLL for (int i = 0; i < 4; i++) sums[r][i] = dot_pairs(sums[r][i], codes[i], factor);
        }
    }
}

// R channels of the output for 4 vectors of queries.
template <int R, class Lanes, class Keys, class KeyLanes>
OUTLINED static void pair_tile(const Attention& a, int c, int lane, Lanes T, Keys K, KeyLanes S, float* out,
                               const Scratch& s) {
    const float *constants = s.small[2], *map_sums = s.small[3] + lane, *known = s.small[5];
    const float* units = s.units[2] + lane;
    PairSum sums[R][4];
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int i = 0; i < 4; i++) sums[r][i] = pairs_begin(a.integer_map == 2 ? 0 : s.starts[c + r]);
    if (a.integer_map == 2) {
        add_products(sums, s.pairs + lane, s.values + (size_t)(a.head_dim + c) * S, T, K, S);
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int i = 0; i < 4; i++) sums[r][i] = sums[r][i] * kUpper + pairs_begin(s.starts[c + r]);
    }
    add_products(sums, s.pairs + lane, s.values + (size_t)c * S, T, K, S);
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int i = 0; i < 4; i++) {
            F y = fma(to_float((I)sums[r][i]), all(a.out_alpha), all(constants[c + r]));
            if (a.out_beta != 0 && (c + r == 0 || !a.v.transform)) y = fma(load(map_sums + i * W), all(a.out_beta), y);
            if (a.map.per_token) y = fma(y, load(units + i * W), all(known[c + r]));
            store(out + (size_t)(c + r) * T + lane + i * W, y);
        }
}

template <class Lanes, class Keys, class KeyLanes>
static void map_product_of_codes(const Attention& a, const float* v, float* out, Lanes T, Keys K, KeyLanes S, Scratch& s) {
    map_codes(a, T, K, s);
    s.end(kSoftmaxStage);
    integer_values(a, v, S, s);
    float *constants = s.small[2], *known = s.small[5];  // known: the share of the map's first coefficient, without units
    for (int c = 0; c < a.head_dim; c++) {
        float* w = s.operands[1] + (size_t)c * S;
        float total = 0, first = 0;
        if (a.map.transform) {
            total = K * w[0];
            hadamard_of_lanes(w, K);
            first = w[0];
            if (a.map.transform == kSoftmax) total -= first;
        } else {
            for (int lane = 0; lane < K; lane++) total += w[lane];
        }
        int16_t *lower = s.values + (size_t)c * S, *upper = lower + (size_t)a.head_dim * S;
        for (int lane = 0; lane < S; lane += W) {
            F x = load(w + lane);
            if (a.integer_map == 2) {
                const F high = to_float(to_int(x * all(1.0f / kUpper)));
                store_16bit(upper + lane, high);
                x = x - high * all((float)kUpper);
            }
            store_16bit(lower + lane, x);
        }
        s.starts[c] = (int)(-a.map.centre * total);
        const bool all_channels = c == 0 || !a.v.transform;
        constants[c] = total * a.sum_alpha + (all_channels ? a.sum_beta : 0);
        known[c] = first * a.first_alpha + (all_channels ? a.first_beta : 0);
        if (!a.map.per_token) constants[c] += known[c];
    }
    // Σ r' of each query, for a v with a constant in every token; a transform keeps it in the first coefficient.
    float* map_sums = s.small[3];
    if (a.out_beta != 0)
        for (int lane = 0; lane < T; lane += W) {
            F sums = to_float(low_half(iload(s.pairs + lane))) - all((float)a.map.centre);
            if (a.map.transform) {
                sums = sums * all((float)K);
            } else {
                PairSum total = pairs_begin(-a.map.centre * K);
                for (int row = 0; row < K; row += 2)
                    total = dot_pairs(total, iload(s.pairs + (size_t)(row / 2) * pitch_of_map(T) + lane), iall(0x00010001));
                sums = to_float((I)total);
            }
            store(map_sums + lane, sums);
        }
    s.end(kQuantize);
    for (int lane = 0; lane < T; lane += 4 * W)
        in_blocks<kPairRows>(a.head_dim, [&](auto count, int c) INLINED {
            pair_tile<decltype(count)::value>(a, c, lane, T, K, S, out, s);
        });
}
