// Functions of vectors that every level shares.

// A compile-time constant. A parameter of type `Lanes` is the number of lanes of a window: a Count, or an int that is known
// only at run time.
template <int N>
struct Count {
    static constexpr int value = N;
    constexpr operator int() const { return N; }
};

// c[N − 1] t^(N − 1) + … + c[0] of V interleaved vectors: the steps of one alone would be limited by their latency.
template <int N, int V>
INLINE void polynomial(const float (&c)[N], const F (&t)[V], F (&y)[V]) {
    UNROLL for (int v = 0; v < V; v++) y[v] = fma(t[v], all(c[N - 1]), all(c[N - 2]));
    UNROLL for (int i = N - 3; i >= 0; i--)
        UNROLL for (int v = 0; v < V; v++) y[v] = fma(y[v], t[v], all(c[i]));
}

// 2^x for −126 ≤ x ≤ 0, relative error 1e-7.
template <int V>
INLINE void power_of_two(F (&x)[V]) {
    static const float c[] = {1.0f,           6.931472067e-01f, 2.402265121e-01f, 5.550327214e-02f,
                              9.618025603e-03f, 1.340043217e-03f, 1.546973198e-04f};
    F n[V], f[V];
    UNROLL for (int v = 0; v < V; v++) x[v] = larger(x[v], all(-126.0f));
    UNROLL for (int v = 0; v < V; v++) n[v] = nearest(x[v]);
    UNROLL for (int v = 0; v < V; v++) f[v] = x[v] - n[v];
    polynomial(c, f, x);
    UNROLL for (int v = 0; v < V; v++) x[v] = times_power(x[v], n[v]);
}
INLINE F power_of_two(F x) {
    F one[1] = {x};
    power_of_two(one);
    return one[0];
}

// x Φ(x) = max(x, 0) − h(|x|), h(u) = u erfc(u / √2) / 2 by a polynomial in t = u / 2.625 − 1; absolute error 5e-7,
// PyTorch's own is 1e-6.
template <int V>
INLINE void gelu(F (&x)[V]) {
    static const float p[] = {1.137317624e-02f, -7.630264759e-02f, 2.143380046e-01f, -2.911494076e-01f, 8.295364678e-02f,
                              3.587646186e-01f, -5.825681686e-01f, 2.526027262e-01f, 2.971408069e-01f, -3.980805874e-01f,
                              2.802310511e-02f, 1.887848377e-01f, -6.948734075e-02f, -3.461986780e-02f, 1.822698489e-02f};
    F t[V], h[V];
    UNROLL for (int v = 0; v < V; v++) t[v] = smaller(fma(magnitude(x[v]), all(2.0f / 5.25f), all(-1.0f)), all(1.0f));
    polynomial(p, t, h);
    UNROLL for (int v = 0; v < V; v++) x[v] = larger(x[v], all(0.0f)) - h[v];
}

// One step of a Hadamard transform.
INLINE void butterfly(F& a, F& b) {
    const F sum = a + b;
    b = a - b;
    a = sum;
}

// The unnormalized Hadamard transform of R values, in registers.
template <int R>
INLINE void butterflies(F (&x)[R]) {
    UNROLL for (int half = R / 2; half >= 1; half /= 2)
        UNROLL for (int i = 0; i < R; i++)
            if (!(i & half)) butterfly(x[i], x[i + half]);
}

#if COMPSRT_INTEGER
// Codes as products of bytes take them, less kCodeShift. What begins a sum makes up for it.
INLINE I load_codes(const uint8_t* p) { return kCodeShift ? iload(p) ^ iall((int)0x80808080) : iload(p); }
#endif
