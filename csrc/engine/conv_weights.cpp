#include "engine/conv_weights.h"

#include "engine/scratch.h"

namespace compsrt {

PackedConv pack(const Conv& conv, int rows) {
    const int blocks = (conv.outputs + rows - 1) / rows;
    const size_t size = (size_t)blocks * conv.inputs * rows;
    const double down[kDown][3] = {{1, 0, 0},
                                   {1 / 3.0, 1 / 3.0, 1 / 3.0},
                                   {-1 / 3.0, 1 / 3.0, -1 / 3.0},
                                   {-16 / 15.0, -8 / 15.0, -4 / 15.0},
                                   {1 / 15.0, -2 / 15.0, 4 / 15.0},
                                   {0, 0, 1}};
    const double across[kAcross][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
    PackedConv packed{std::vector<float>(kDown * kAcross * size), std::vector<float>(blocks * rows), blocks};
    for (int o = 0; o < conv.outputs; o++) {
        packed.bias[o] = conv.bias ? conv.bias[o] : 0;
        for (int c = 0; c < conv.inputs; c++) {
            const float* taps = conv.weight + ((size_t)o * conv.inputs + c) * 9;
            float* to = packed.weight.data() + ((size_t)(o / rows) * conv.inputs + c) * rows + o % rows;
            for (int i = 0; i < kDown; i++)
                for (int j = 0; j < kAcross; j++, to += size) {
                    double sum = 0;
                    for (int k = 0; k < 9; k++) sum += down[i][k / 3] * across[j][k % 3] * taps[k];
                    *to = (float)sum;
                }
        }
    }
    return packed;
}

}  // namespace compsrt
