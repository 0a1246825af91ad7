// 3×3 convolutions that stand by themselves.
#include <algorithm>
#include <cstring>

#include "engine/grid.h"
#include "engine/operators.h"

namespace compsrt {

// A unit of work is a strip of kStrip rows of at most kTilePixels pixels.
void Operators::convolution(const ConvolutionCall& call) {
    const int strips = whole_strips(call.height) / kStrip, tiles = (call.width + kTilePixels - 1) / kTilePixels;
    const int width = std::min(call.width, kTilePixels), pitch = pitch_of(width), lines = kStrip + 2;
    const size_t plane = (size_t)lines * pitch;
    Sizes sizes;
    sizes.lanes = kTilePixels;  // of the residual
    sizes.channels = call.outputs;
    sizes.planes = call.inputs;
    sizes.outputs = (size_t)call.blocks * kernels_.conv_rows;
    sizes.tall = kStrip;
    sizes.pitch = pitch;
    of_convolutions_.reserve(sizes);
    pool_.run(call.images * strips * tiles, [&](int number, int thread) {
        Scratch& s = of_convolutions_[thread];
        const int y0 = number / tiles % strips * kStrip, x0 = number % tiles * kTilePixels;
        const int64_t image = (int64_t)(number / tiles / strips) * call.height;
        const int count = std::min(width, call.width - x0);
        const int from = std::max(0, x0 - 1), to = std::min(call.width, x0 + count + 1);  // with a pixel on either side
        std::memset(s.planes, 0, sizeof(float) * call.inputs * plane);
        for (int line = 0; line < lines; line++) {
            const int y = y0 + line - 1;
            if (y < 0 || y >= call.height) continue;
            const int64_t first = (image + y) * call.width + from;
            const Rows& x = call.x;
            kernels_.gather(x.data + (x.at ? 0 : first * x.stride), x.at ? x.at + first : nullptr, x.stride, x.channel,
                            to - from, call.inputs, (int)plane, s.planes + line * pitch + (from - x0 + 1));
        }
        kernels_.conv(call.weight, call.bias, s.planes, s.result, call.inputs, call.blocks, kStrip, count, pitch, s.line,
                      s.mixed, s.sums);
        if (call.activation) kernels_.activate(call.activation, s.result, (size_t)call.outputs * kStrip * pitch);
        for (int line = 0; line < kStrip && y0 + line < call.height; line++) {
            const int64_t first = (image + y0 + line) * call.width + x0;
            float* result = s.result + line * pitch;
            if (call.residual.data) {
                gather(call.residual, first, count, call.outputs, kTilePixels, s.qkv);
                for (int c = 0; c < call.outputs; c++)
                    kernels_.add(result + (size_t)c * kStrip * pitch, s.qkv + (size_t)c * kTilePixels, count);
            }
            scatter(result, call.y, first, count, call.outputs, kStrip * pitch);
        }
    });
}

}  // namespace compsrt
