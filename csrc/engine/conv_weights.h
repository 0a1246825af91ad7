// The weights of a convolution in the layout of its kernel.
#pragma once
#include <vector>

#include "engine/network.h"

namespace compsrt {

struct PackedConv {
    std::vector<float> weight;  // [kDown · kAcross][block][in][rows], in the Winograd domain of conv-inl.h
    std::vector<float> bias;    // [block · rows]
    int blocks = 0;
};

// A block has `rows` output channels.
PackedConv pack(const Conv& conv, int rows);

}  // namespace compsrt
