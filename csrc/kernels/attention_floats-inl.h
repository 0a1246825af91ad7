// Attention in floats, for operands in full precision, transforms that differ, numbers of keys that integers do not take,
// and processors without integer products.

// Fake-quantize an operand: rows [width][T]; return the number of rows.
static int operand(const Quantizer& q, bool inverse, const float* x, int rows, int T, float* out) {
    __builtin_memcpy(out, x, sizeof(float) * (size_t)rows * T);
    return simulate(q, inverse, out, rows, T);
}

static bool share_domain(const Quantizer& a, const Quantizer& b) {
    return a.top && b.top && a.transform == b.transform;
}

INLINE F mask_of(const Window& w, int key, int query, int T) {
    return w.added ? load(w.added + (size_t)key * T + query) : all(w.mask[key / (T / 4)][query / (T / 4)]);
}

static void softmax_rows(float* x, int rows, int T) {
    for (int lane = 0; lane < T; lane += W) {
        F most = load(x + lane), total = all(0.0f);
        for (int r = 1; r < rows; r++) most = larger(most, load(x + (size_t)r * T + lane));
        for (int r = 0; r < rows; r++) {
            float* p = x + (size_t)r * T + lane;
            F e = power_of_two(load(p) - most);
            store(p, e);
            total = total + e;
        }
        const F factor = all(1.0f) / total;
        for (int r = 0; r < rows; r++) {
            float* p = x + (size_t)r * T + lane;
            store(p, load(p) * factor);
        }
    }
}

static void scores_in_floats(const Attention& a, const Window& w, int head, const float* q, const float* k, Scratch& s) {
    const int T = s.T, S = a.key_lanes, n = a.keys;
    const bool inverse = !share_domain(a.q, a.k);
    const int rows = operand(a.q, inverse, q, a.head_dim, T, s.operands[0]);
    operand(a.k, inverse, k, a.head_dim, S, s.operands[1]);
    const float* bias = a.bias + (size_t)head * n * T;
    const F log2e = all(1.44269504f * a.score_scale);
    float_product(s.operands[1], a.lane_of_row, 1, S, n, s.operands[0], rows, T,
                  [&](int row, int lane, F y) INLINED {
                      F score = fma(y, log2e, load(bias + (size_t)row * T + lane));
                      if (w.masked) score = score + mask_of(w, a.lane_of_row[row], lane, T);
                      store(s.scores + (size_t)row * T + lane, score);
                  });
}

static void map_product_in_floats(const Attention& a, const float* v, float* out, Scratch& s) {
    const int T = s.T, S = a.key_lanes, n = a.keys;
    softmax_rows(s.scores, n, T);
    s.end(kSoftmaxStage);
    simulate(a.map, 1, s.scores, n, T);
    operand(a.v, 1, v, a.head_dim, S, s.operands[0]);
    s.end(kQuantize);
    float* by_token = s.operands[1];
    for (int c = 0; c < a.head_dim; c++)
        for (int row = 0; row < n; row++) by_token[c * n + row] = s.operands[0][(size_t)c * S + a.lane_of_row[row]];
    float_product(by_token, nullptr, n, 1, a.head_dim, s.scores, n, T,
                  [&](int row, int lane, F y) INLINED {
                      store(out + (size_t)row * T + lane, y);
                  });
}
