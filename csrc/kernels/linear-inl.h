// A linear layer on a window: x [features][T] → done(row, lane, y).

// The output of pruned rows: the bias alone.
template <class Done>
INLINE void pruned_rows(const Linear& l, int T, Done done) {
    if (!l.kept_rows) return;
    for (int row = 0, kept = 0; row < l.outputs; row++) {
        if (kept < l.rows && l.kept_rows[kept] == row) {
            kept++;
            continue;
        }
        for (int lane = 0; lane < T; lane += W) done(row, lane, all(l.bias[row]));
    }
}

static void apply_signs(const float* signs, float* x, int rows, int T) {
    for (int row = 0; signs && row < rows; row++)
        if (signs[row] < 0) multiply(x + (size_t)row * T, -1, 1, T);
}

// Convert x to the input of the product: codes in s.codes[slot], or floats in s.input. With `own` x may be overwritten,
// and has room for as many rows as the quantizer's domain.
template <class Lanes>
static void take_input(const Linear& l, float* x, bool own, int slot, Lanes T, Scratch& s) {
    if (!own) {
        __builtin_memcpy(s.input, x, sizeof(float) * (size_t)l.inputs * T);
        x = s.input;
    }
    apply_signs(l.signs, x, l.inputs, T);
#if COMPSRT_INTEGER
    if (l.integer) {
        if (!l.kept_columns) {
            encode<1>({&l.input}, x, l.inputs, T, {s.codes[slot]}, s.units[slot]);
        } else {
            to_domain(l.input, x, l.inputs, T);
            encode_kept(l.input, x, l.kept_columns, l.columns, T, s.codes[slot], s.units[slot]);
        }
        sums_of_codes(s.codes[slot], l.columns, l.input.centre, T, s.code_sums[slot]);
        return;
    }
#endif
    if (l.kept_columns) {  // selected in the domain, before the token's unit is computed
        to_domain(l.input, x, l.inputs, T);
        for (int k = 0; k < l.columns; k++)
            __builtin_memmove(x + (size_t)k * T, x + (size_t)l.kept_columns[k] * T, sizeof(float) * T);
        decode_in_place(l.input, x, l.columns, T);
    } else {
        simulate(l.input, l.inverse, x, l.inputs, T);
    }
    s.taken = x;
}

template <class Lanes, class Done>
INLINE void give_output(const Linear& l, int slot, Lanes T, Scratch& s, Done done) {
    pruned_rows(l, T, done);
#if COMPSRT_INTEGER
    if (l.integer) return code_product(l, s.codes[slot], s.code_sums[slot], s.units[slot], T, s, done);
#endif
    float_product(l.weight, nullptr, l.columns, 1, l.rows, s.taken, l.columns, T,
                  [&](int row, int lane, F y) INLINED {
                      const int at = l.kept_rows ? l.kept_rows[row] : row;
                      done(at, lane, y + all(l.bias[at]));
                  });
}

#if COMPSRT_INTEGER
// q, k and v read the same rows: one transform, three sets of codes. x is overwritten.
template <class Lanes>
static bool take_shared_input(const Linear* const (&linears)[3], float* x, Lanes T, Scratch& s) {
    for (const Linear* l : linears)
        if (!l->integer || l->kept_columns || l->input.transform != linears[0]->input.transform ||
            l->input.per_token != linears[0]->input.per_token ||
            !l->signs != !linears[0]->signs)  // the common width determines the sign vector
            return false;
    const int rows = linears[0]->inputs;
    apply_signs(linears[0]->signs, x, rows, T);
    encode<3>({&linears[0]->input, &linears[1]->input, &linears[2]->input}, x, rows, T,
              {s.codes[0], s.codes[1], s.codes[2]}, s.units[0]);
    for (int i = 0; i < 3; i++) {
        if (i) __builtin_memcpy(s.units[i], s.units[0], sizeof(float) * T);
        sums_of_codes(s.codes[i], linears[i]->columns, linears[i]->input.centre, T, s.code_sums[i]);
    }
    return true;
}
#endif
