// What one thread needs to work on one window; allocated once for a network.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "network.h"

namespace compsrt {

struct Scratch {
    int T = 0;                 // lanes of a window: 4 cells
    float *qkv, *input, *rows, *hidden, *scores, *operands[3], *small[6], *code_sums[3], *units[3];
    uint8_t *codes[3], *head_codes[2], *code_pairs;
    int32_t* pairs;            // 16-bit codes of the map, two rows a lane
    int16_t* values;           // what the map is multiplied with
    int32_t* starts;
    const float** from;        // per vector of a window: its first row in the picture read …
    float** to;                // … and in the picture written
    float *planes, *result, *line, *mixed, *sums;  // of convolutions
    float* taken;
    double* spent = nullptr;   // seconds per stage; null: nobody asks
    std::chrono::steady_clock::time_point since;

    void allocate(const Network& network);

    void begin() {
        if (spent) since = std::chrono::steady_clock::now();
    }
    void end(Stage stage) {
        if (!spent) return;
        auto now = std::chrono::steady_clock::now();
        spent[stage] += std::chrono::duration<double>(now - since).count();
        since = now;
    }

   private:
    std::vector<float> memory_;
};

// One window of one block.
struct Window {
    const float* source[4];  // its cells
    float* target[4];
    bool masked;             // some keys are hidden from some queries:
    float mask[4][4];        // by cell of the key and cell of the query, 0 or −100 log2(e)
};

constexpr int kStrip = 4;               // rows of pixels that a convolution computes at a time …
constexpr int kDown = 6, kAcross = 4;  // … in tiles of 2 pixels, and what is mixed for one of them, see conv.h
inline int whole_strips(int height) { return (height + kStrip - 1) / kStrip * kStrip; }

// What a level of instructions offers.
struct Kernels {
    const char* name;
    bool integer;
    int conv_rows;  // output channels that a convolution computes at a time
    void (*block)(const Network&, const Block&, const Window&, Scratch&);
    // Normalize four cells: in, out [channels][lanes] each.
    void (*norm)(const Norm&, const float* const* in, float* const* out, int channels, int lanes);
    // out [blocks of conv_rows][height][pitch] from in [channels][height + 2][pitch], `height` whole strips, `width` pixels
    // a row rounded up; worked in are line [kDown][pitch], mixed [kDown · kAcross][channels][pitch / 2] and
    // sums [kDown · kAcross][blocks of conv_rows][pitch / 2].
    void (*conv)(const float* packed, const float* bias, const float* in, float* out, int channels, int blocks, int height,
                 int width, int pitch, float* line, float* mixed, float* sums);
};

const Kernels* plain_kernels();
const Kernels* avx2_kernels();    // null where the compiler or the processor has none
const Kernels* avx512_kernels();

}  // namespace compsrt
