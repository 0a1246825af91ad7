// Attention between the channels of each head, over all pixels. Both parts process kTokensAtOnce pixels at a time, whose
// channels are quantized, and transformed back, as in the simulated network.

// Quantize the channels of one head in floats: x [channels][T] → out [at least as many rows as the domain][T].
static void quantize_head(const ChannelOperand& o, const float* x, int head, int channels, float* out) {
    constexpr int T = kTokensAtOnce;
    for (int c = 0; c < channels; c++) {
        const int at = head * channels + c;
        F factor = all(o.signs ? o.signs[c] : 1.0f);
        if (o.divisor) factor = factor / all(o.divisor[at]);
        for (int t = 0; t < T; t += W) store(out + c * T + t, load(x + (size_t)at * T + t) * factor);
    }
    simulate(*o.quantizer, 1, out, channels, T);
    for (int c = 0; o.signs && c < channels; c++)
        if (o.signs[c] < 0) multiply(out + c * T, -1, 1, T);
}

// sums [heads][channels][channels][W] += Σ over `count` pixels of q̂ k̂ᵀ. Padding pixels are 0 before quantization, and
// must be set to 0 again after it.
static void gram(const GramCall& call, int count, float* sums, Scratch& s) {
    constexpr int T = kTokensAtOnce;
    const int C = call.channels;
    float *const q = s.operands[0], *const k = s.operands[1];
    for (int head = 0; head < call.heads; head++, sums += (size_t)C * C * W) {
        quantize_head(call.q, s.rows, head, C, q);
        quantize_head(call.k, s.hidden, head, C, k);
        for (int c = 0; count < T && c < C; c++) fill(q + c * T + count, 0, T - count);
        for (int i = 0; i < C; i++) {
            F left[T / W];
            for (int v = 0; v < T / W; v++) left[v] = load(q + i * T + v * W);
            for (int j = 0; j < C; j++) {
                F sum = load(sums + (size_t)(i * C + j) * W);
                for (int v = 0; v < T / W; v++) sum = fma(left[v], load(k + j * T + v * W), sum);
                store(sums + (size_t)(i * C + j) * W, sum);
            }
        }
    }
}

// s.hidden [heads · channels][T] = map v̂ of the pixels in s.rows.
static void mix(const MixCall& call, Scratch& s) {
    constexpr int T = kTokensAtOnce;
    const int C = call.channels;
    float* const v = s.operands[0];
    for (int head = 0; head < call.heads; head++) {
        quantize_head(call.v, s.rows, head, C, v);
        float* out = s.hidden + (size_t)head * C * T;
        float_product(call.map + (size_t)head * C * C, nullptr, C, 1, C, v, C, T,
                      [&](int row, int lane, F y) INLINED { store(out + (size_t)row * T + lane, y); });
    }
}

// sums [channels][W] += values, or their squares, of kTokensAtOnce rows x [channels][T].
static void reduce(const float* x, int channels, bool squares, float* sums) {
    constexpr int T = kTokensAtOnce;
    for (int c = 0; c < channels; c++, x += T, sums += W) {
        F sum = load(sums);
        for (int t = 0; t < T; t += W) {
            const F value = load(x + t);
            sum = squares ? fma(value, value, sum) : sum + value;
        }
        store(sums, sum);
    }
}

// Mean and variance of the channels of kTokensAtOnce rows x [channels][T].
static void moments(const float* x, int channels, float* mean, float* variance) {
    constexpr int T = kTokensAtOnce;
    const F share = all(1.0f / channels);
    for (int t = 0; t < T; t += W) {
        F sum = all(0.0f), square = all(0.0f);
        for (int c = 0; c < channels; c++) sum = sum + load(x + (size_t)c * T + t);
        sum = sum * share;
        for (int c = 0; c < channels; c++) {
            const F d = load(x + (size_t)c * T + t) - sum;
            square = fma(d, d, square);
        }
        store(mean + t, sum);
        store(variance + t, square * share);
    }
}
