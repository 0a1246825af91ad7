// 3×3 convolution in floats by Winograd's minimal filtering (Lavin and Gray, arXiv 1509.09308): F(4, 3) down the image, at
// the points 0, 1, −1, 1/2, −2 and infinity, and F(2, 3) across it. An output tile of 4 rows × 2 pixels, from an input of
// 6 × 4, takes 24 products instead of 72 for each pair of channels. The rounding error of float32 grows by a factor of 1.3.
//
// Lanes are pixels of a row, and in the Winograd domain tiles: even and odd pixels are separated before the input
// transform, and interleaved again after the output transform. In between, kConvRows output channels × 2 vectors of tiles
// are computed at a time.

constexpr int kConvRows = kRegisters == 32 ? 12 : 6;

// Transform one strip: in [channels][…][pitch] with a border of one pixel → mixed [kDown · kAcross][channels][half];
// line [kDown][pitch] is a buffer.
static void mix_strip(const float* in, int channels, size_t plane, int pitch, int tiles, float* line, float* mixed) {
    const int half_pitch = pitch / 2;
    const size_t size = (size_t)channels * half_pitch;
    const F half = all(0.5f), once_and_half = all(1.5f), twice = all(2.0f), twice_and_half = all(2.5f);
    for (int c = 0; c < channels; c++) {
        for (int x = 0; x < pitch; x += W) {
            F d[6];
            for (int i = 0; i < 6; i++) d[i] = load(in + c * plane + i * pitch + x);
            const F d31 = d[3] - d[1], d42 = d[4] - d[2];
            float* to = line + x;
            store(to, fma(once_and_half, d31, d[0] + d[4] - twice * d[2]));
            store(to + pitch, fma(twice_and_half, d[3], fma(half, d[2], d[4] - d[1])));
            store(to + 2 * pitch, fma(half, d[3], d[1] + d[4] - twice_and_half * d[2]));
            store(to + 3 * pitch, fma(twice, d31, d42));
            store(to + 4 * pitch, d42 - half * d31);
            store(to + 5 * pitch, fma(once_and_half, d42, d[1] + d[5] - twice * d[3]));
        }
        for (int i = 0; i < kDown; i++)
            for (int x = 0; x < tiles; x += W) {
                const float* from = line + i * pitch + 2 * x;
                const F d0 = evens(load(from), load(from + W)), d1 = odds(load(from), load(from + W));
                const F d2 = evens(load(from + 2), load(from + 2 + W)), d3 = odds(load(from + 2), load(from + 2 + W));
                float* to = mixed + (size_t)i * kAcross * size + (size_t)c * half_pitch + x;
                store(to, d0 - d2);
                store(to + size, d1 + d2);
                store(to + 2 * size, d2 - d1);
                store(to + 3 * size, d1 - d3);
            }
    }
}

// Multiply one Winograd coefficient of all input channels with kConvRows output channels, for V vectors of tiles.
template <int V>
OUTLINED static void conv_tile(const float* w, const float* in, float* out, int channels, int half_pitch) {
    F sums[kConvRows][V];
    UNROLL for (int o = 0; o < kConvRows; o++)
        UNROLL for (int i = 0; i < V; i++) sums[o][i] = all(0.0f);
    for (int c = 0; c < channels; c++, in += half_pitch, w += kConvRows) {
        F values[V];
        UNROLL for (int i = 0; i < V; i++) values[i] = load(in + i * W);
        UNROLL for (int o = 0; o < kConvRows; o++) {
            F factor = all(w[o]);
            UNROLL for (int i = 0; i < V; i++) sums[o][i] = fma(values[i], factor, sums[o][i]);
        }
    }
    UNROLL for (int o = 0; o < kConvRows; o++)
        UNROLL for (int i = 0; i < V; i++) store(out + o * half_pitch + i * W, sums[o][i]);
}

// Transform back: sums [kDown · kAcross][outputs][half] → four rows of out [outputs][…][pitch].
static void separate_strip(const float* sums, const float* bias, int outputs, int tiles, int pitch, size_t plane,
                           float* out) {
    const int half_pitch = pitch / 2;
    const size_t size = (size_t)outputs * half_pitch;
    for (int o = 0; o < outputs; o++)
        for (int x = 0; x < tiles; x += W) {
            F m[2][kDown], rows[2][kStrip];  // of even and of odd pixels
            const float* from = sums + (size_t)o * half_pitch + x;
            for (int i = 0; i < kDown; i++, from += kAcross * size) {
                const F m1 = load(from + size), m2 = load(from + 2 * size);
                m[0][i] = load(from) + m1 + m2;
                m[1][i] = m1 - m2 - load(from + 3 * size);
            }
            for (int side = 0; side < 2; side++) {
                const F *const s = m[side], start = all(bias[o]), even = s[1] + s[2] + start, odd = s[1] - s[2] + start;
                rows[side][0] = even + (s[0] + s[3] + s[4]);
                rows[side][1] = fma(all(0.5f), s[3], fma(all(-2.0f), s[4], odd));
                rows[side][2] = fma(all(0.25f), s[3], fma(all(4.0f), s[4], even));
                rows[side][3] = fma(all(0.125f), s[3], fma(all(-8.0f), s[4], odd)) + s[5];
            }
            for (int y = 0; y < kStrip; y++) {
                float* to = out + o * plane + (size_t)y * pitch + 2 * x;
                store(to, woven_first(rows[0][y], rows[1][y]));
                store(to + W, woven_last(rows[0][y], rows[1][y]));
            }
        }
}

static void conv(const float* packed, const float* bias, const float* in, float* out, int channels, int blocks, int height,
                 int width, int pitch, float* line, float* mixed, float* sums) {
    const size_t plane = (size_t)(height + 2) * pitch, out_plane = (size_t)height * pitch;
    const int outputs = blocks * kConvRows, half_pitch = pitch / 2, tiles = (width + 1) / 2;
    for (int y = 0; y < height; y += kStrip) {
        mix_strip(in + (size_t)y * pitch, channels, plane, pitch, tiles, line, mixed);
        const float* w = packed;
        for (int i = 0; i < kDown * kAcross; i++)
            for (int block = 0; block < blocks; block++, w += channels * kConvRows) {
                const float* from = mixed + (size_t)i * channels * half_pitch;
                float* to = sums + ((size_t)i * outputs + block * kConvRows) * half_pitch;
                int x = 0;
                for (; x + W < tiles; x += 2 * W) conv_tile<2>(w, from + x, to + x, channels, half_pitch);
                if (x < tiles) conv_tile<1>(w, from + x, to + x, channels, half_pitch);
            }
        separate_strip(sums, bias, outputs, tiles, pitch, out_plane, out + (size_t)y * pitch);
    }
}
