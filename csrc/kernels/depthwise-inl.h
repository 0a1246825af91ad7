// Depth-wise convolution in channels-last layout: a vector is W channels of one pixel.

INLINE F some(const float* p, int count) { return count >= W ? load(p) : load_some(p, count); }

// One line of pixels, channels from c on; `count` of them are left.
template <bool THREE, bool MAXIMUM>
static void depthwise_channels(const DepthwiseCall& call, int image, int line, int c, int count) {
    const int KH = THREE ? 3 : call.kernel_height, KW = THREE ? 3 : call.kernel_width, width = call.width, C = call.channels;
    const int dilation = THREE ? 1 : call.dilation;
    const int64_t pixel = ((int64_t)image * call.height + line) * width;
    const F bias = call.bias ? some(call.bias + c, count) : all(0.0f);
    F weights[9];
    if (THREE && !MAXIMUM) UNROLL for (int k = 0; k < 9; k++) weights[k] = some(call.weight + k * C + c, count);
    for (int x = 0; x < width; x++) {
        F sum = MAXIMUM ? all(-3.4e38f) : bias;
        UNROLL for (int i = 0; i < KH; i++) {
            const int dy = (i - KH / 2) * dilation;
            if (line + dy < 0 || line + dy >= call.height) continue;
            UNROLL for (int j = 0; j < KW; j++) {
                const int dx = (j - KW / 2) * dilation;
                if (x + dx < 0 || x + dx >= width) continue;
                const float* from = row_of(call.x, pixel + (int64_t)dy * width + x + dx) + c;
                if (MAXIMUM) {
                    sum = larger(sum, some(from, count));
                    continue;
                }
                const F weight = THREE ? weights[i * 3 + j] : some(call.weight + (size_t)(i * KW + j) * C + c, count);
                sum = fma(some(from, count), weight, sum);
            }
        }
        float* to = row_of(call.y, pixel + x) + c;
        if (count >= W)
            store(to, sum);
        else
            store_some(to, sum, count);
    }
}

static void depthwise(const DepthwiseCall& call, int image, int line) {
    const bool three = call.kernel_height == 3 && call.kernel_width == 3 && call.dilation == 1;
    for (int c = 0; c < call.channels; c += W) {
        const int count = call.channels - c;
        const auto channels = !call.weight ? (three ? depthwise_channels<true, true> : depthwise_channels<false, true>)
                                           : (three ? depthwise_channels<true, false> : depthwise_channels<false, false>);
        channels(call, image, line, c, count);
    }
    if (!call.activation) return;
    alignas(64) float part[kElementsAtOnce + 64];  // activations compute whole vectors
    float* const to = row_of(call.y, ((int64_t)image * call.height + line) * call.width);
    const int64_t size = (int64_t)call.width * call.channels;  // pixels of y are contiguous
    for (int64_t i = 0; i < size; i += kElementsAtOnce) {
        const size_t count = size - i < kElementsAtOnce ? size - i : kElementsAtOnce;
        __builtin_memcpy(part, to + i, sizeof(float) * count);
        activate(call.activation, part, count);
        __builtin_memcpy(to + i, part, sizeof(float) * count);
    }
}
