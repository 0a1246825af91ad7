// 3×3 convolution in floats. Down the picture it is Winograd's F(4, 3), at the points 0, 1, −1, 1/2, −2 and infinity
// (Lavin and Gray, arXiv 1509.09308): six rows of a strip are mixed into six others, each meets one row of mixed weights
// (`Engine::pack`), and from the six sums come four rows of output. That is half the products; float32 loses 1.5 times
// what it loses without. Across, taps are three loads, since pixels of a row are lanes. Then come kConvRows output
// channels × 2 vectors at a time.

constexpr int kConvRows = W == 16 ? 12 : 6;

// Rows of a strip and of one pixel above and below: in [channels][…][pitch] → mixed [6][channels][pitch].
static void mix_rows(const float* in, int channels, size_t plane, int pitch, float* mixed) {
    const size_t size = (size_t)channels * pitch;
    const F half = all(0.5f), once_and_half = all(1.5f), twice = all(2.0f), twice_and_half = all(2.5f);
    for (int c = 0; c < channels; c++)
        for (int x = 0; x < pitch; x += W) {
            F d[6];
            const float* from = in + c * plane + x;
            for (int i = 0; i < 6; i++) d[i] = load(from + i * pitch);
            const F d31 = d[3] - d[1], d42 = d[4] - d[2];
            float* to = mixed + (size_t)c * pitch + x;
            store(to, fma(once_and_half, d31, d[0] + d[4] - twice * d[2]));
            store(to + size, fma(twice_and_half, d[3], fma(half, d[2], d[4] - d[1])));
            store(to + 2 * size, fma(half, d[3], d[1] + d[4] - twice_and_half * d[2]));
            store(to + 3 * size, fma(twice, d31, d42));
            store(to + 4 * size, d42 - half * d31);
            store(to + 5 * size, fma(once_and_half, d42, d[1] + d[5] - twice * d[3]));
        }
}

// Sums of kConvRows output channels [·][pitch] over one mixed row of all input channels.
template <int V>
OUTLINED static void conv_tile(const float* w, const float* in, float* out, int channels, int pitch) {
    F sums[kConvRows][V];
#pragma GCC unroll 12
    for (int o = 0; o < kConvRows; o++)
#pragma GCC unroll 2
        for (int i = 0; i < V; i++) sums[o][i] = all(0.0f);
    for (int c = 0; c < channels; c++, in += pitch)
#pragma GCC unroll 3
        for (int x = 0; x < 3; x++) {
            F values[V];
#pragma GCC unroll 2
            for (int i = 0; i < V; i++) values[i] = load(in + x + i * W);
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
        for (int i = 0; i < V; i++) store(out + o * pitch + i * W, sums[o][i]);
}

// Four rows of output from six sums [6][outputs][pitch]: out [outputs][…][pitch].
static void separate_rows(const float* sums, const float* bias, int outputs, int width, int pitch, size_t plane,
                          float* out) {
    const size_t size = (size_t)outputs * pitch;
    for (int o = 0; o < outputs; o++)
        for (int x = 0; x < width; x += W) {
            F m[6];
            const float* from = sums + (size_t)o * pitch + x;
            for (int i = 0; i < 6; i++) m[i] = load(from + i * size);
            const F start = all(bias[o]), even = m[1] + m[2] + start, odd = m[1] - m[2] + start;
            float* to = out + o * plane + x;
            store(to, even + (m[0] + m[3] + m[4]));
            store(to + pitch, fma(all(0.5f), m[3], fma(all(-2.0f), m[4], odd)));
            store(to + 2 * pitch, fma(all(0.25f), m[3], fma(all(4.0f), m[4], even)));
            store(to + 3 * pitch, fma(all(0.125f), m[3], fma(all(-8.0f), m[4], odd)) + m[5]);
        }
}

static void conv(const float* packed, const float* bias, const float* in, float* out, int channels, int blocks, int height,
                 int width, int pitch, float* mixed, float* sums) {
    const size_t plane = (size_t)(height + 2) * pitch, out_plane = (size_t)height * pitch;
    const int outputs = blocks * kConvRows;
    for (int y = 0; y < height; y += kStrip) {
        mix_rows(in + (size_t)y * pitch, channels, plane, pitch, mixed);
        const float* w = packed;
        for (int i = 0; i < kMixed; i++)
            for (int block = 0; block < blocks; block++, w += channels * 3 * kConvRows) {
                const float* from = mixed + (size_t)i * channels * pitch;
                float* to = sums + ((size_t)i * outputs + block * kConvRows) * pitch;
                int x = 0;
                for (; x + W < width; x += 2 * W) conv_tile<2>(w, from + x, to + x, channels, pitch);
                if (x < width) conv_tile<1>(w, from + x, to + x, channels, pitch);
            }
        separate_rows(sums, bias, outputs, width, pitch, out_plane, out + (size_t)y * pitch);
    }
}
