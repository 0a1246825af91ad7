// A whole Swin block on one window.

static void attention(const Attention& a, const Window& w, float* out, Scratch& s) {
    const int size = a.head_dim * s.T, part = a.heads * size;
    for (int head = 0; head < a.heads; head++) {
        float *q = s.qkv + (size_t)head * size, *k = q + part, *v = k + part;
#if COMPSRT_INTEGER
        if (a.integer_scores)
            scores_of_codes(a, w, head, q, k, s);
        else
#endif
            scores_in_floats(a, w, head, q, k, s);
        s.end(kScores);
#if COMPSRT_INTEGER
        if (a.integer_scores && a.integer_map)
            map_product_of_codes(a, v, out + (size_t)head * size, s);
        else
#endif
            map_product_in_floats(a, v, out + (size_t)head * size, s);
        s.end(kMapProducts);
    }
}

static void run_block(const Network& n, const Block& b, const Window& w, Scratch& s) {
    const int T = s.T, C = n.channels, L = n.lanes;
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
    shared = take_shared_input(linears, s.rows, s);
    s.end(kTransform);
#endif
    for (int i = 0; i < 3; i++) {
        if (!shared) take_input(*linears[i], s.rows, false, i, s);
        s.end(kTransform);
        float* out = s.qkv + (size_t)i * C * T;
        give_output(*linears[i], i, s, [=](int row, int lane, F y) INLINED {
            store(out + (size_t)row * T + lane, y);
        });
        s.end(kProducts);
    }

    attention(b.attention, w, s.rows, s);

    take_input(b.proj, s.rows, true, 0, s);
    s.end(kTransform);
    give_output(b.proj, 0, s, [&](int row, int lane, F y) INLINED {
        store(s.to[lane / W] + (size_t)row * L, load(s.from[lane / W] + (size_t)row * L) + y);
    });
    s.end(kProducts);

    normed(b.norm2, s.to, s.rows);
    s.end(kNorm);
    take_input(b.fc1, s.rows, true, 0, s);
    s.end(kTransform);
    give_output(b.fc1, 0, s, [&](int row, int lane, F y) INLINED {
        store(s.hidden + (size_t)row * T + lane, y);
    });
    s.end(kProducts);
    for (size_t i = 0; i < (size_t)b.hidden * T; i += 4 * W) {
        F x[4];
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) x[v] = gelu(load(s.hidden + i + v * W));
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) store(s.hidden + i + v * W, x[v]);
    }
    s.end(kGelu);
    take_input(b.fc2, s.hidden, true, 0, s);
    s.end(kTransform);
    give_output(b.fc2, 0, s, [&](int row, int lane, F y) INLINED {
        float* x = s.to[lane / W] + (size_t)row * L;
        store(x, load(x) + y);
    });
    s.end(kProducts);
}
