// Transpose rows of a tensor, [row][channel] ↔ [channel][lanes], 8 × 8 at a time. The last block of columns overlaps the
// one before it, so that only tensors of fewer than eight channels are copied element by element.

typedef float Eight __attribute__((vector_size(32)));

INLINE Eight load8(const float* p) {
    Eight v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store8(float* p, Eight v) { __builtin_memcpy(p, &v, sizeof v); }

INLINE void transpose8(Eight (&x)[8]) {
    Eight t[8], u[8];
    UNROLL for (int i = 0; i < 8; i += 2) {
        t[i] = __builtin_shufflevector(x[i], x[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        t[i + 1] = __builtin_shufflevector(x[i], x[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    UNROLL for (int i = 0; i < 8; i += 4)
        UNROLL for (int k = 0; k < 2; k++) {
            u[i + 2 * k] = __builtin_shufflevector(t[i + k], t[i + 2 + k], 0, 1, 8, 9, 4, 5, 12, 13);
            u[i + 2 * k + 1] = __builtin_shufflevector(t[i + k], t[i + 2 + k], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    UNROLL for (int i = 0; i < 4; i++) {
        x[i] = __builtin_shufflevector(u[i], u[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        x[i + 4] = __builtin_shufflevector(u[i], u[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

struct RowPlaces {
    float* data;
    const int64_t* at;
    int64_t stride;
    INLINED float* operator[](int row) const { return data + (at ? at[row] : row * stride); }
};

// `count` rows → to [channels][lanes]; other lanes stay as they are.
static void gather_rows(float* data, const int64_t* at, int64_t stride, int64_t channel, int count, int channels, int lanes,
                        float* to) {
    const RowPlaces rows = {data, at, stride};
    if (!at && stride == 1) {
        for (int c = 0; c < channels; c++) __builtin_memcpy(to + (size_t)c * lanes, data + c * channel, sizeof(float) * count);
        return;
    }
    int row = 0;
    if (channel == 1 && channels >= 8)
        for (; row + 8 <= count; row += 8) {
            const float* from[8];
            UNROLL for (int i = 0; i < 8; i++) from[i] = rows[row + i];
            for (int next = 0; next < channels; next += 8) {
                const int c = next + 8 <= channels ? next : channels - 8;
                Eight x[8];
                UNROLL for (int i = 0; i < 8; i++) x[i] = load8(from[i] + c);
                transpose8(x);
                float* p = to + (size_t)c * lanes + row;
                UNROLL for (int i = 0; i < 8; i++) store8(p + (size_t)i * lanes, x[i]);
            }
        }
    for (int r = row; r < count; r++) {
        const float* from = rows[r];
        for (int c = 0; c < channels; c++) to[(size_t)c * lanes + r] = from[c * channel];
    }
}

static void scatter_rows(const float* from, float* data, const int64_t* at, int64_t stride, int64_t channel, int count,
                         int channels, int lanes) {
    const RowPlaces rows = {data, at, stride};
    int row = 0;
    if (channel == 1 && channels >= 8)
        for (; row + 8 <= count; row += 8) {
            float* to[8];
            UNROLL for (int i = 0; i < 8; i++) to[i] = rows[row + i];
            for (int next = 0; next < channels; next += 8) {
                const int c = next + 8 <= channels ? next : channels - 8;
                Eight x[8];
                const float* p = from + (size_t)c * lanes + row;
                UNROLL for (int i = 0; i < 8; i++) x[i] = load8(p + (size_t)i * lanes);
                transpose8(x);
                UNROLL for (int i = 0; i < 8; i++) store8(to[i] + c, x[i]);
            }
        }
    for (int r = row; r < count; r++) {
        float* to = rows[r];
        for (int c = 0; c < channels; c++) to[c * channel] = from[(size_t)c * lanes + r];
    }
}
