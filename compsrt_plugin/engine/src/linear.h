// A linear layer on a window: x [features][T] → done(row, lane, y).

// What pruned rows give: the bias alone.
template <class Done>
INLINE void pruned_rows(const Linear& l, int T, Done done) {
    if (!l.kept_rows) return;
    for (int row = 0, kept = 0; row < l.out; row++) {
        if (kept < l.rows && l.kept_rows[kept] == row) {
            kept++;
            continue;
        }
        for (int lane = 0; lane < T; lane += W) done(row, lane, all(l.bias ? l.bias[row] : 0.0f));
    }
}

static void apply_signs(const float* signs, float* x, int rows, int T) {
    for (int row = 0; signs && row < rows; row++)
        if (signs[row] < 0) multiply(x + (size_t)row * T, -1, 1, T);
}

// Bring x into the form that the product wants: codes in s.codes[slot], or floats in s.input. x is left as it is
// unless `own`, which lets it be worked on in place (it then has room for as many rows as the quantizer's domain).
static void take_input(const Linear& l, float* x, bool own, int slot, Scratch& s) {
    const int T = s.T;
    if (!own) {
        __builtin_memcpy(s.input, x, sizeof(float) * (size_t)l.in * T);
        x = s.input;
    }
    apply_signs(l.signs, x, l.in, T);
#if COMPSRT_INTEGER
    if (l.integer) {
        if (!l.kept_columns) {
            encode(l.input, x, l.in, T, s.codes[slot]);
        } else {
            if (l.input.transform) {
                fill(x + (size_t)l.in * T, 0, (size_t)(l.input.width - l.in) * T);
                hadamard_in_place(x, l.input.width, T);
            }
            encode_kept(l.input, x, l.kept_columns, l.columns, T, s.codes[slot]);
        }
        sums_of_codes(s.codes[slot], l.columns, l.input.centre, T, s.code_sums[slot]);
        return;
    }
#endif
    simulate(l.input, l.inverse, x, l.in, T);
    if (l.kept_columns)
        for (int k = 0; k < l.columns; k++)
            __builtin_memmove(x + (size_t)k * T, x + (size_t)l.kept_columns[k] * T, sizeof(float) * T);
    s.taken = x;
}

template <class Done>
INLINE void give_output(const Linear& l, int slot, Scratch& s, Done done) {
    pruned_rows(l, s.T, done);
#if COMPSRT_INTEGER
    if (l.integer) return code_product(l, s.codes[slot], s.code_sums[slot], s.T, done);
#endif
    float_product(l.weight, nullptr, l.columns, 1, l.rows, s.taken, l.columns, s.T,
                  [&](int row, int lane, F y) INLINED {
                      done(l.kept_rows ? l.kept_rows[row] : row, lane, y + all(l.gamma[row]));
                  });
}

#if COMPSRT_INTEGER
// q, k and v read the same rows: one transform, three sets of codes. x is worked on in place.
static bool take_shared_input(const Linear* const (&linears)[3], float* x, Scratch& s) {
    for (const Linear* l : linears)
        if (!l->integer || l->kept_columns || l->input.transform != linears[0]->input.transform ||
            !l->signs != !linears[0]->signs)  // which signs they are, their common width says
            return false;
    const Quantizer& q = linears[0]->input;
    const int T = s.T, rows = linears[0]->in, m = q.width;
    const Coder coders[3] = {Coder(q), Coder(linears[1]->input), Coder(linears[2]->input)};
    apply_signs(linears[0]->signs, x, rows, T);
    if (q.transform && m > 16) fill(x + (size_t)rows * T, 0, (size_t)(m - rows) * T);
    for (int lane = 0; lane < T; lane += W) {
        auto sink = [&](int row, auto& v) INLINED {
#pragma GCC unroll 3
            for (int i = 0; i < 3; i++) put_codes(coders[i], v, s.codes[i] + lane * 4, row, T);
        };
        if (q.transform)
            hadamard(x + lane, rows, m, T, sink);
        else
            untransformed(x + lane, rows, T, sink);
    }
    for (int i = 0; i < 3; i++)
        sums_of_codes(s.codes[i], linears[i]->columns, linears[i]->input.centre, T, s.code_sums[i]);
    return true;
}
#endif
