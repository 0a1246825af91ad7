// Functions of vectors that every level shares.

// 2^x for −126 ≤ x ≤ 0, relative error 1e-7.
INLINE F power_of_two(F x) {
    x = larger(x, all(-126.0f));
    F n = nearest(x), f = x - n;
    F p = fma(f, all(1.546973198e-04f), all(1.340043217e-03f));
    p = fma(p, f, all(9.618025603e-03f));
    p = fma(p, f, all(5.550327214e-02f));
    p = fma(p, f, all(2.402265121e-01f));
    p = fma(p, f, all(6.931472067e-01f));
    return times_power(fma(p, f, all(1.0f)), n);
}

// x Φ(x) = max(x, 0) − h(|x|), h(u) = u erfc(u / √2) / 2 by a polynomial in t = u / 2.75 − 1; absolute error 2e-7,
// PyTorch's own is 1e-6.
INLINE F gelu(F x) {
    F u = magnitude(x), t = smaller(fma(u, all(2.0f / 5.5f), all(-1.0f)), all(1.0f));
    static const float p[] = {8.194370195e-03f,  -6.057603657e-02f, 1.912633777e-01f,  -3.087741733e-01f, 1.789475828e-01f,
                              2.617242932e-01f,  -6.283228993e-01f, 4.514880180e-01f,  1.513838619e-01f,  -5.179120302e-01f,
                              2.722125351e-01f,  1.806585491e-01f,  -2.569062114e-01f, 1.826339588e-02f,  9.892436862e-02f,
                              -3.236421943e-02f, -1.569692045e-02f, 7.492275909e-03f};
    F h = all(p[17]);
#pragma GCC unroll 17
    for (int i = 16; i >= 0; i--) h = fma(h, t, all(p[i]));
    return larger(x, all(0.0f)) - h;
}

// Butterflies of R values, in registers: the unnormalized Hadamard transform.
template <int R>
INLINE void butterflies(F (&x)[R]) {
#pragma GCC unroll 4
    for (int half = R / 2; half >= 1; half /= 2)
#pragma GCC unroll 16
        for (int i = 0; i < R; i++)
            if (!(i & half)) {
                F a = x[i], b = x[i + half];
                x[i] = a + b;
                x[i + half] = a - b;
            }
}
