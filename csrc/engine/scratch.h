// The buffers of one thread for one window, laid out once for a network.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "engine/network.h"

namespace compsrt {

// The sizes of the buffers; a buffer of size 0 is not used.
struct Sizes {
    size_t lanes = 0;                 // of a window
    size_t channels = 1, hidden = 0;  // rows of a linear layer's input and output
    size_t head = 1, keys = 0;        // channels of a head, rows of its map
    size_t planes = 0, outputs = 0, tall = 0, pitch = 0;  // of a convolution's strip: input and output channels, rows, pitch
    bool sparse = false;

    bool operator==(const Sizes& o) const {
        return lanes == o.lanes && channels == o.channels && hidden == o.hidden && head == o.head && keys == o.keys &&
               planes == o.planes && outputs == o.outputs && tall == o.tall && pitch == o.pitch && sparse == o.sparse;
    }
};
Sizes sizes_of(const Network& network);

struct Scratch {
    int T = 0;                 // lanes of a window: 4 cells
    float *qkv, *input, *rows, *hidden, *scores, *operands[3], *small[6], *code_sums[3], *units[3];
    uint8_t *codes[3], *head_codes[2], *code_pairs;
    int32_t* pairs;            // 16-bit codes of the map, two rows a lane
    int16_t* values;           // right operand of map · v, in one or two parts
    int32_t* starts;
    const float** from;        // per vector of a window: its first row in the input image …
    float** to;                // … and in the output image
    float *planes, *result, *line, *mixed, *sums;  // of convolutions
    float* taken;
    double* spent = nullptr;   // seconds per stage; null: not measured
    int64_t since = 0;         // nanoseconds

    // Return the bytes that the buffers take and, unless `memory` is null, point to them in it.
    size_t lay_out(const Sizes& sizes, void* memory);

    // Always inline: otherwise the linker keeps the copy of one level for all levels.
    __attribute__((always_inline)) void begin() {
        if (spent) add_time(kStages);
    }
    __attribute__((always_inline)) void end(Stage stage) {
        if (spent) add_time(stage);
    }

   private:
    void add_time(Stage stage);
};

// One window of one block.
struct Window {
    const float* source[4];  // its cells
    float* target[4];
    bool masked;             // some keys are masked for some queries:
    float mask[4][4];        // by cell of the key and cell of the query, 0 or −100 log2(e)
    const float* added;      // added mask [key][query lane], times log2(e); null: use `mask`
};

constexpr int kTokensAtOnce = 64;       // rows per call of a linear layer outside a window
constexpr int kElementsAtOnce = 1024;   // elements per step of an expression

constexpr int kStrip = 4;               // rows of pixels that a convolution computes at a time …
constexpr int kDown = 6, kAcross = 4;  // … in tiles of 2 pixels; rows and columns that a tile reads, see conv-inl.h
inline int whole_strips(int height) { return (height + kStrip - 1) / kStrip * kStrip; }

}  // namespace compsrt
