// The unnormalized Hadamard transform of the rows of x [m][T], for each lane separately: butterflies in registers, eight
// (or sixteen) rows at a time. The constants of the quantizer contain the factor 1/√m.

template <int R, class Change>
INLINE void radix_pass(float* x, int m, int stride, int T, Change& change) {
    for (int base = 0; base < m; base += R * stride)
        for (int i = 0; i < stride; i++) {
            float* p = x + (size_t)(base + i) * T;
            F v[R];
            UNROLL for (int r = 0; r < R; r++) v[r] = load(p + (size_t)r * stride * T);
            change(v);
            butterflies(v);
            UNROLL for (int r = 0; r < R; r++) store(p + (size_t)r * stride * T, v[r]);
        }
}

// All passes except the last, which takes blocks of 8 neighbouring rows. `change(values)` is applied to the input of the
// first pass. m ≥ 16.
template <class Change>
INLINE void leading_passes(float* x, int m, int T, Change change) {
    auto keep = [](auto&) INLINED {};
    int span = m / 8;  // distance of the rows that the next pass combines, in blocks of 8
    if (span == 2) return radix_pass<2>(x, m, 8, T, change);
    if (span == 4) return radix_pass<4>(x, m, 8, T, change);
    if (span == 8) return radix_pass<8>(x, m, 8, T, change);
    if (span == 16) return radix_pass<16>(x, m, 8, T, change);
    radix_pass<4>(x, m, m / 4, T, change);
    for (int block = m / 4; block > 8; block /= (block >= 64 ? 8 : block / 8)) {
        if (block >= 64)
            radix_pass<8>(x, m, block / 8, T, keep);
        else if (block == 32)
            radix_pass<4>(x, m, 8, T, keep);
        else
            radix_pass<2>(x, m, 8, T, keep);
    }
}

// The last pass on rows `row` … `row + R − 1`, whose results go to `sink(row, values)`.
template <int R, class Sink>
INLINE void last_block(const float* x, int row, int rows, int T, Sink& sink) {
    F v[R];
    UNROLL for (int r = 0; r < R; r++) v[r] = row + r < rows ? load(x + (size_t)(row + r) * T) : all(0.0f);
    butterflies(v);
    sink(row, v);
}

// Transform one column of W lanes. x: its first row; rows ≥ `rows` count as 0, and for m > 16 memory must hold zeros
// there. `sink(row, values)` receives 1, 2, 4, 8 or 16 neighbouring rows at a time.
template <class Sink>
INLINE void hadamard(float* x, int rows, int m, int T, Sink sink) {
    if (m == 16) return last_block<16>(x, 0, rows, T, sink);
    if (m > 16) leading_passes(x, m, T, [](auto&) INLINED {});
    if (m >= 8)
        for (int row = 0; row < m; row += 8) last_block<8>(x, row, m > 16 ? m : rows, T, sink);
    else if (m == 4)
        last_block<4>(x, 0, rows, T, sink);
    else if (m == 2)
        last_block<2>(x, 0, rows, T, sink);
    else
        last_block<1>(x, 0, rows, T, sink);
}

// The untransformed rows, four at a time; rows missing from the last four get code 0.
template <class Sink>
INLINE void untransformed(const float* x, int rows, int T, Sink sink) {
    for (int row = 0; row < rows; row += 4) {
        F v[4];
        for (int r = 0; r < 4; r++) v[r] = row + r < rows ? load(x + (size_t)(row + r) * T) : all(-1e30f);
        sink(row, v);
    }
}

template <int R>
INLINE void put_rows(const F (&v)[R], float* column, int row, int T) {
    UNROLL for (int r = 0; r < R; r++) store(column + (size_t)(row + r) * T, v[r]);
}

// Transform all T lanes in place.
static void hadamard_in_place(float* x, int m, int T) {
    for (int lane = 0; lane < T; lane += W) {
        float* column = x + lane;
        hadamard(column, m, m, T, [=](int row, auto& v) INLINED { put_rows(v, column, row, T); });
    }
}

// Transform the T lanes of one row: T a power of two.
INLINE void hadamard_of_lanes(float* row, int T) {
    for (int lane = 0; lane < T; lane += W) {
        F v = lane_butterfly<2>(lane_butterfly<1>(load(row + lane)));
        if (W > 4) v = lane_butterfly<4>(v);
        if (W > 8) v = lane_butterfly<8>(v);
        store(row + lane, v);
    }
    for (int half = W; half < T; half *= 2)
        for (int base = 0; base < T; base += 2 * half)
            for (int lane = base; lane < base + half; lane += W) {
                F a = load(row + lane), b = load(row + lane + half);
                butterfly(a, b);
                store(row + lane, a);
                store(row + lane + half, b);
            }
}
