// Layer norm over the channels of each lane.

// Normalize four vectors of lanes at once, since each sum is one long dependency chain. x: the first channel of each;
// row: floats between channels.
template <class Done>
INLINE void normalize(const Norm& n, const float* const* x, int row, int channels, Done done) {
    F mean[4], square[4];
    for (int i = 0; i < 4; i++) mean[i] = square[i] = all(0.0f);
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < 4; i++) mean[i] = mean[i] + load(x[i] + c * row);
    const F share = all(1.0f / channels);
    for (int i = 0; i < 4; i++) mean[i] = mean[i] * share;
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < 4; i++) {
            F d = load(x[i] + c * row) - mean[i];
            square[i] = fma(d, d, square[i]);
        }
    F scale[4];
    for (int i = 0; i < 4; i++) scale[i] = all(1.0f) / square_root(fma(square[i], share, all(n.epsilon)));
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < 4; i++) {
            F d = (load(x[i] + c * row) - mean[i]) * scale[i];
            done(c, i, fma(d, all(n.weight[c]), all(n.bias[c])));
        }
}

static void normalize_cells(const Norm& n, const float* const* in, float* const* out, int channels, int lanes) {
    for (int cell = 0; cell < 4; cell++)
        for (int lane = 0; lane < lanes; lane += 4 * W) {
            const float* x[4];
            // A cell may have fewer than four vectors: the last one is then repeated.
            for (int i = 0; i < 4; i++) x[i] = in[cell] + (lane + i * W < lanes ? lane + i * W : lanes - W);
            normalize(n, x, lanes, channels, [&](int c, int i, F y) INLINED {
                if (lane + i * W < lanes) store(out[cell] + (size_t)c * lanes + lane + i * W, y);
            });
        }
}

static void norm_rows(const Norm& n, float* x, int channels) {
    for (int lane = 0; lane < kTokensAtOnce; lane += 4 * W) {
        const float* const from[4] = {x + lane, x + lane + W, x + lane + 2 * W, x + lane + 3 * W};
        normalize(n, from, kTokensAtOnce, channels, [&](int c, int i, F y) INLINED {
            store(x + (size_t)c * kTokensAtOnce + lane + i * W, y);
        });
    }
}
