// A network that is ready to run: kernels, threads and buffers.
#pragma once
#include <cstddef>
#include <vector>

#include "engine/conv_weights.h"
#include "engine/grid.h"
#include "engine/pool.h"
#include "simd/levels.h"

namespace compsrt {

class Engine {
   public:
    // The network's pointers must outlive the engine.
    Engine(const Network& network, const InferenceKernels& kernels, int threads);

    // in [in_channels][h][w], h and w multiples of the window → out [out_channels][h · scale][w · scale],
    // or features [channels][h][w] of a network without `upsample`.
    void run(const float* in, float* out, int h, int w);

    int threads() const { return pool_.threads(); }
    void profile(bool on);
    // Seconds per stage since the last call, summed over threads.
    void take_times(double* seconds);

   private:
    struct Cells {
        std::vector<float> memory;
        float* data = nullptr;
        void reserve(size_t count);
    };
    void reserve(const Grid& grid);
    void run_blocks(const Grid& grid, const Group& group, const float* source, float* target);
    void run_norm(const Grid& grid, const Norm& norm, const float* in, float* out);
    // Run several convolutions in sequence: from → to, plus `residual`.
    void run_convs(const Grid& grid, const Conv* convs, const PackedConv* packed, int count, const float* from,
                   const float* residual, float* to);

    const Network network_;
    const InferenceKernels& kernels_;
    Pool pool_;
    std::vector<std::vector<std::byte>> memory_;  // of each thread
    std::vector<Scratch> scratch_;
    std::vector<double> spent_;
    std::vector<std::vector<PackedConv>> groups_;
    PackedConv first_, upsample_;
    std::vector<PackedConv> tail_;
    Cells shallow_, group_, stream_, between_[2];
};

}  // namespace compsrt
