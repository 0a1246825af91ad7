// 3×3 convolution in floats: kConvRows output channels × 2 vectors of a picture's row at a time.

constexpr int kConvRows = W == 16 ? 12 : 6;

template <int V>
OUTLINED static void conv_tile(const float* w, const float* bias, const float* in, float* out, int channels, size_t plane, int pitch,
                      size_t out_plane) {
    F sums[kConvRows][V];
#pragma GCC unroll 12
    for (int o = 0; o < kConvRows; o++)
#pragma GCC unroll 2
        for (int i = 0; i < V; i++) sums[o][i] = all(bias[o]);
    for (int c = 0; c < channels; c++, in += plane)
        for (int y = 0; y < 3; y++)
#pragma GCC unroll 3
            for (int x = 0; x < 3; x++) {
                F values[V];
#pragma GCC unroll 2
                for (int i = 0; i < V; i++) values[i] = load(in + y * pitch + x + i * W);
#pragma GCC unroll 12
                for (int o = 0; o < kConvRows; o++) {
                    F factor = all(w[o]);
#pragma GCC unroll 2
                    for (int i = 0; i < V; i++) sums[o][i] = fma(values[i], factor, sums[o][i]);
                }
                w += kConvRows;
            }
#pragma GCC unroll 12
    for (int o = 0; o < kConvRows; o++)
#pragma GCC unroll 2
        for (int i = 0; i < V; i++) store(out + o * out_plane + i * W, sums[o][i]);
}

static void conv(const float* packed, const float* bias, const float* in, float* out, int channels, int blocks, int height,
                 int width, int pitch) {
    const size_t plane = (size_t)(height + 2) * pitch, out_plane = (size_t)height * pitch;
    for (int block = 0; block < blocks; block++) {
        const float* w = packed + (size_t)block * channels * 9 * kConvRows;
        for (int y = 0; y < height; y++) {
            const float* from = in + (size_t)y * pitch;
            float* to = out + block * kConvRows * out_plane + (size_t)y * pitch;
            int x = 0;
            for (; x + W < width; x += 2 * W)
                conv_tile<2>(w, bias + block * kConvRows, from + x, to + x, channels, plane, pitch, out_plane);
            if (x < width) conv_tile<1>(w, bias + block * kConvRows, from + x, to + x, channels, plane, pitch, out_plane);
        }
    }
}
