// Functions of vectors that every level shares.

// c[N − 1] t^(N − 1) + … + c[0], of V vectors by turns: one alone would wait for each of its steps.
template <int N, int V>
INLINE void polynomial(const float (&c)[N], const F (&t)[V], F (&y)[V]) {
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) y[v] = fma(t[v], all(c[N - 1]), all(c[N - 2]));
#pragma GCC unroll 17
    for (int i = N - 3; i >= 0; i--)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++) y[v] = fma(y[v], t[v], all(c[i]));
}

// 2^x for −126 ≤ x ≤ 0, relative error 1e-7.
template <int V>
INLINE void power_of_two(F (&x)[V]) {
    static const float c[] = {1.0f,           6.931472067e-01f, 2.402265121e-01f, 5.550327214e-02f,
                              9.618025603e-03f, 1.340043217e-03f, 1.546973198e-04f};
    F n[V], f[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) x[v] = larger(x[v], all(-126.0f));
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) n[v] = nearest(x[v]);
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) f[v] = x[v] - n[v];
    polynomial(c, f, x);
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) x[v] = times_power(x[v], n[v]);
}
INLINE F power_of_two(F x) {
    F one[1] = {x};
    power_of_two(one);
    return one[0];
}

// x Φ(x) = max(x, 0) − h(|x|), h(u) = u erfc(u / √2) / 2 by a polynomial in t = u / 2.75 − 1; absolute error 2e-7,
// PyTorch's own is 1e-6.
template <int V>
INLINE void gelu(F (&x)[V]) {
    static const float p[] = {8.194370195e-03f,  -6.057603657e-02f, 1.912633777e-01f,  -3.087741733e-01f, 1.789475828e-01f,
                              2.617242932e-01f,  -6.283228993e-01f, 4.514880180e-01f,  1.513838619e-01f,  -5.179120302e-01f,
                              2.722125351e-01f,  1.806585491e-01f,  -2.569062114e-01f, 1.826339588e-02f,  9.892436862e-02f,
                              -3.236421943e-02f, -1.569692045e-02f, 7.492275909e-03f};
    F t[V], h[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) t[v] = smaller(fma(magnitude(x[v]), all(2.0f / 5.5f), all(-1.0f)), all(1.0f));
    polynomial(p, t, h);
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) x[v] = larger(x[v], all(0.0f)) - h[v];
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
