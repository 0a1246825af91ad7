// Weights of a convolution as its kernel reads them.
#pragma once
#include <vector>

#include "engine/network.h"

namespace compsrt {

struct PackedConv {
    std::vector<float> weight;  // [kDown · kAcross][block][in][rows], taps mixed as conv-inl.h mixes pixels
    std::vector<float> bias;    // [block · rows]
    int blocks = 0;
};

// `rows` output channels are a block.
PackedConv pack(const Conv& conv, int rows);

}  // namespace compsrt
