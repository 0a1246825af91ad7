// A whole Swin block on one window. Windows of 8 are compiled separately, with a constant number of lanes (`Count`), which
// saves 5 % of the time in address arithmetic.

template <class Lanes, class Keys, class KeyLanes>
static void attention_head(const Attention& a, const Window& w, int head, float* q, float* k, const float* v, float* out,
                           Lanes T, Keys K, KeyLanes S, Scratch& s) {
#if COMPSRT_INTEGER
    if (a.integer_scores)
        scores_of_codes(a, w, head, q, k, T, K, S, s);
    else
#endif
        scores_in_floats(a, w, head, q, k, s);
    s.end(kScores);
#if COMPSRT_INTEGER
    if (a.integer_scores && a.integer_map)
        map_product_of_codes(a, v, out, T, K, S, s);
    else
#endif
        map_product_in_floats(a, v, out, s);
    s.end(kMapProducts);
}

template <class Lanes>
static void attention(const Attention& a, const Window& w, float* out, Lanes T, Scratch& s) {
    const int size = a.head_dim * T, part = a.heads * size;
    for (int head = 0; head < a.heads; head++) {
        float* q = s.qkv + (size_t)head * size;
        attention_head(a, w, head, q, q + part, q + 2 * part, out + (size_t)head * size, T, T, T, s);
    }
}

template <class Lanes>
static void run_block_of(const Network& n, const Block& b, const Window& w, Lanes T, Scratch& s) {
    const int C = n.channels, L = T / 4;
    for (int lane = 0; lane < T; lane += W) {
        s.from[lane / W] = w.source[lane / L] + lane % L;
        s.to[lane / W] = w.target[lane / L] + lane % L;
    }
    auto normed = [&](const Norm& norm, const float* const* x, float* out) INLINED {
        for (int v = 0; v < T / W; v += 4)
            normalize(norm, x + v, L, C, [&](int c, int i, F y) INLINED {
                store(out + (size_t)c * T + (v + i) * W, y);
            });
    };
    s.begin();
    normed(b.norm1, s.from, s.rows);
    s.end(kNorm);

    const Linear* const linears[3] = {&b.q, &b.k, &b.v};
    bool shared = false;
#if COMPSRT_INTEGER
    shared = take_shared_input(linears, s.rows, T, s);
    s.end(kTransform);
#endif
    for (int i = 0; i < 3; i++) {
        if (!shared) take_input(*linears[i], s.rows, false, i, T, s);
        s.end(kTransform);
        float* out = s.qkv + (size_t)i * C * T;
        give_output(*linears[i], i, T, s, [=](int row, int lane, F y) INLINED {
            store(out + (size_t)row * T + lane, y);
        });
        s.end(kProducts);
    }

    attention(b.attention, w, s.rows, T, s);

    take_input(b.proj, s.rows, true, 0, T, s);
    s.end(kTransform);
    give_output(b.proj, 0, T, s, [&](int row, int lane, F y) INLINED {
        store(s.to[lane / W] + (size_t)row * L, load(s.from[lane / W] + (size_t)row * L) + y);
    });
    s.end(kProducts);

    normed(b.norm2, s.to, s.rows);
    s.end(kNorm);
    take_input(b.fc1, s.rows, true, 0, T, s);
    s.end(kTransform);
    give_output(b.fc1, 0, T, s, [&](int row, int lane, F y) INLINED {
        store(s.hidden + (size_t)row * T + lane, y);
    });
    s.end(kProducts);
    for (size_t i = 0; i < (size_t)b.hidden * T; i += 4 * W) {
        F x[4];
        UNROLL for (int v = 0; v < 4; v++) x[v] = load(s.hidden + i + v * W);
        gelu(x);
        UNROLL for (int v = 0; v < 4; v++) store(s.hidden + i + v * W, x[v]);
    }
    s.end(kGelu);
    take_input(b.fc2, s.hidden, true, 0, T, s);
    s.end(kTransform);
    give_output(b.fc2, 0, T, s, [&](int row, int lane, F y) INLINED {
        float* x = s.to[lane / W] + (size_t)row * L;
        store(x, load(x) + y);
    });
    s.end(kProducts);
}

static void run_block(const Network& n, const Block& b, const Window& w, Scratch& s) {
    if (s.T == 64)
        run_block_of(n, b, w, Count<64>(), s);
    else
        run_block_of(n, b, w, s.T, s);
}

static void run_attention(const Attention& a, const Window& w, float* out, Scratch& s) {
    float *q = s.qkv, *k = q + (size_t)a.head_dim * s.T, *v = k + (size_t)a.head_dim * a.key_lanes;
    const auto run = [&](auto T, auto K, auto S) INLINED { attention_head(a, w, 0, q, k, v, out, T, K, S, s); };
    if (s.T == 64 && a.keys == 64)
        run(Count<64>(), Count<64>(), Count<64>());
    else if (s.T == 256 && a.keys == 256)
        run(Count<256>(), Count<256>(), Count<256>());
    else
        run(s.T, a.keys, a.key_lanes);
}

static void run_linear(const Linear& l, float* out, Scratch& s) {
    constexpr Count<kTokensAtOnce> T;
    take_input(l, s.rows, true, 0, T, s);
    give_output(l, 0, T, s, [&](int row, int lane, F y) INLINED { store(out + (size_t)row * T + lane, y); });
}
