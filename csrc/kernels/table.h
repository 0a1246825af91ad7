// The kernels of a level: one function each.
#pragma once
#include "engine/network.h"
#include "engine/scratch.h"
#include "kernels/fake_quantize.h"
#include "kernels/selective_scan.h"

namespace compsrt {

struct DepthwiseCall;
struct ElementwiseCall;
struct GramCall;
struct MixCall;

// They return 1, or 0 if there is no code for that width or number of states, or no memory.
struct CalibrationKernels {
    int (*fake_quantize)(const FakeQuantize&, const float* x, float* y);
    int (*fake_quantize_backward)(const FakeQuantize&, const float* x, const float* grad, const FakeQuantizeGradients&);
    int (*selective_scan)(const Scan&, float* y);
    int (*selective_scan_backward)(const Scan&, const float* grad, const ScanGradients&);
};

// How a level sums products of bytes. It decides which sums are exact (compsrt_plugin/engine/sums.py).
struct Integers {
    int32_t sum_bits;          // of one sum; 0: the level has no integer products
    int32_t products_per_sum;  // of every four neighbouring products of a row
    int32_t code_shift;        // which products take codes less: 128 where they take signed bytes, else 0
    int32_t sparse;            // whether 2:4 sparse products are faster
};

struct InferenceKernels {
    Integers integers;
    int conv_rows;  // output channels that a convolution computes at a time
    int lanes;      // of a vector
    void (*block)(const Network&, const Block&, const Window&, Scratch&);
    // One head of one window: s.qkv holds q, k and v [head_dim][T]; out [head_dim][T].
    void (*attention)(const Attention&, const Window&, float* out, Scratch&);
    // kTokensAtOnce rows of a linear layer: s.rows holds them [inputs][T]; out [outputs][T].
    void (*linear)(const Linear&, float* out, Scratch&);
    // kTokensAtOnce rows, x [channels][T], in place; activations as elementwise-inl.h numbers them.
    void (*norm_rows)(const Norm&, float* x, int channels);
    void (*activate)(int activation, float* x, size_t count);
    void (*add)(float* x, const float* y, size_t count);
    // Copy rows, which start at the offsets `at` or `stride` apart, to [channels][lanes], and back. Other lanes stay as
    // they are.
    void (*gather)(float* data, const int64_t* at, int64_t stride, int64_t channel, int count, int channels, int lanes,
                   float* to);
    void (*scatter)(const float* from, float* data, const int64_t* at, int64_t stride, int64_t channel, int count, int channels,
                    int lanes);
    // kTokensAtOnce rows in the scratch buffers, see channels-inl.h.
    void (*moments)(const float* x, int channels, float* mean, float* variance);
    void (*reduce)(const float* x, int channels, bool squares, float* sums);
    void (*gram)(const GramCall&, int count, float* sums, Scratch&);
    void (*mix)(const MixCall&, Scratch&);
    void (*depthwise)(const DepthwiseCall&, int image, int line);
    // Rows `first` … `last` − 1, `at_once` of them in registers.
    void (*elementwise)(const ElementwiseCall&, int64_t first, int64_t last, int at_once);
    // Normalize four cells: in, out [channels][lanes] each.
    void (*norm)(const Norm&, const float* const* in, float* const* out, int channels, int lanes);
    // out [blocks of conv_rows][height][pitch] from in [channels][height + 2][pitch]; `height` is whole strips, `width` the
    // pixels of a row, rounded up. Buffers: line [kDown][pitch], mixed [kDown · kAcross][channels][pitch / 2],
    // sums [kDown · kAcross][blocks of conv_rows][pitch / 2].
    void (*conv)(const float* packed, const float* bias, const float* in, float* out, int channels, int blocks, int height,
                 int width, int pitch, float* line, float* mixed, float* sums);
};

}  // namespace compsrt
