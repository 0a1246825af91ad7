// Depth-wise convolution in channels-last layout: a vector is W channels of one pixel.

INLINE F some(const float* p, int count) { return count >= W ? load(p) : load_some(p, count); }

// Channels from c on, `count` of them left, of pixel x of a line.
template <bool MAXIMUM>
INLINE void depthwise_pixel(const DepthwiseCall& call, int64_t pixel, int line, int x, int c, int count, F start) {
    const int KH = call.kernel_height, KW = call.kernel_width, width = call.width, dilation = call.dilation;
    F sum = start;
    for (int i = 0; i < KH; i++) {
        const int dy = (i - KH / 2) * dilation;
        if (line + dy < 0 || line + dy >= call.height) continue;
        for (int j = 0; j < KW; j++) {
            const int dx = (j - KW / 2) * dilation;
            if (x + dx < 0 || x + dx >= width) continue;
            const F value = some(row_of(call.x, pixel + (int64_t)dy * width + x + dx) + c, count);
            if (MAXIMUM)
                sum = larger(sum, value);
            else
                sum = fma(value, some(call.weight + (size_t)(i * KW + j) * call.channels + c, count), sum);
        }
    }
    float* to = row_of(call.y, pixel + x) + c;
    if (count >= W)
        store(to, sum);
    else
        store_some(to, sum, count);
}

constexpr int kPixels = 6;  // neighbours that share a load of the weights

// W channels from c on of kPixels neighbours whose kernels lie within the line.
template <bool MAXIMUM, bool THREE>
OUTLINED static void depthwise_pixels(const DepthwiseCall& call, int64_t pixel, int line, int x, int c, F start) {
    const int KH = THREE ? 3 : call.kernel_height, KW = THREE ? 3 : call.kernel_width, dilation = THREE ? 1 : call.dilation;
    const int64_t stride = call.x.stride;
    const int64_t* const at = call.x.at;
    F sums[kPixels];
    UNROLL for (int p = 0; p < kPixels; p++) sums[p] = start;
    for (int i = 0; i < KH; i++) {
        const int dy = (i - KH / 2) * dilation;
        if (line + dy < 0 || line + dy >= call.height) continue;
        const int64_t first = pixel + (int64_t)dy * call.width + x - KW / 2 * dilation;
        const float* weight = MAXIMUM ? nullptr : call.weight + (size_t)i * KW * call.channels + c;
        for (int j = 0; j < KW; j++) {
            F values[kPixels];
            if (at)
                UNROLL for (int p = 0; p < kPixels; p++) values[p] = load(call.x.data + at[first + j * dilation + p] + c);
            else
                UNROLL for (int p = 0; p < kPixels; p++) values[p] = load(call.x.data + (first + j * dilation + p) * stride + c);
            if (MAXIMUM) {
                UNROLL for (int p = 0; p < kPixels; p++) sums[p] = larger(sums[p], values[p]);
            } else {
                const F w = load(weight + (size_t)j * call.channels);
                UNROLL for (int p = 0; p < kPixels; p++) sums[p] = fma(values[p], w, sums[p]);
            }
        }
    }
    UNROLL for (int p = 0; p < kPixels; p++) store(row_of(call.y, pixel + x + p) + c, sums[p]);
}

// Pixel after pixel, all channels of each: the input is read as it lies in memory.
template <bool MAXIMUM>
static void depthwise_line(const DepthwiseCall& call, int64_t pixel, int line) {
    const int C = call.channels, side = call.kernel_width / 2 * call.dilation, last = call.width - side;
    const bool three = call.kernel_height == 3 && call.kernel_width == 3 && call.dilation == 1;
    const auto pixels = three ? depthwise_pixels<MAXIMUM, true> : depthwise_pixels<MAXIMUM, false>;
    const auto each = [&](auto work) INLINED {
        for (int next = 0; next < C; next += W) {
            // what is left of the channels goes together with some that have been done
            const int c = next && next + W > C ? C - W : next;
            work(c, MAXIMUM ? all(-3.4e38f) : call.bias ? some(call.bias + c, C - c) : all(0.0f));
        }
    };
    for (int x = 0; x < call.width;)
        if (C >= W && x >= side && x + kPixels <= last) {
            each([&](int c, F start) INLINED { pixels(call, pixel, line, x, c, start); });
            x += kPixels;
        } else {
            each([&](int c, F start) INLINED { depthwise_pixel<MAXIMUM>(call, pixel, line, x, c, C - c, start); });
            x++;
        }
}

static void depthwise(const DepthwiseCall& call, int image, int line) {
    const int64_t pixel = ((int64_t)image * call.height + line) * call.width;
    (call.weight ? depthwise_line<false> : depthwise_line<true>)(call, pixel, line);
    if (!call.activation) return;
    alignas(64) float part[kElementsAtOnce + 64];  // activations compute whole vectors
    float* const to = row_of(call.y, pixel);
    const int64_t size = (int64_t)call.width * call.channels;  // pixels of y are contiguous
    for (int64_t i = 0; i < size; i += kElementsAtOnce) {
        const size_t count = size - i < kElementsAtOnce ? size - i : kElementsAtOnce;
        __builtin_memcpy(part, to + i, sizeof(float) * count);
        activate(call.activation, part, count);
        __builtin_memcpy(to + i, part, sizeof(float) * count);
    }
}
