// Parts of any network, run by themselves on tensors where they lie: attention and linear layers.
#pragma once
#include <cstddef>
#include <vector>

#include "engine/pool.h"
#include "simd/levels.h"

namespace compsrt {

// A tensor [problem][token][channel]: where each problem begins, and how many floats lie between tokens and channels.
struct Strided {
    float* data;
    const int64_t* begin;  // [problems]
    int64_t token, channel;
};

// softmax(q kᵀ + tables) v of many problems, each one head of one window.
struct AttentionCall {
    int32_t problems;
    Strided q, k, v, out;
    const float *q_signs, *k_signs, *v_signs;     // [channels] of ±1 that operands are multiplied by, v's the output too; or null
    // Added to the scores, times log2(e): tables [·][key][lane of the query], of which each problem has one of each kind.
    const float *table, *other_table;             // the second may be null
    const int32_t *table_of, *other_table_of;     // [problems]
};

class Operators {
   public:
    Operators(const InferenceKernels& kernels, int threads)
        : kernels_(kernels), pool_(threads), of_attention_(pool_.threads()), of_linear_(pool_.threads()) {}

    int threads() const { return pool_.threads(); }
    void attention(const Attention& attention, const AttentionCall& call);
    // y = layer(x): x [tokens][in], y [tokens][out], contiguous.
    void linear(const Linear& layer, const float* x, float* y, int64_t tokens);

   private:
    // Room for each thread. Attention and linear layers take turns, so each kind keeps its own.
    class Room {
       public:
        explicit Room(int threads) : memory_(threads), scratch_(threads) {}
        void reserve(const Sizes& sizes);
        Scratch& operator[](int thread) { return scratch_[thread]; }

       private:
        std::vector<std::vector<std::byte>> memory_;
        std::vector<Scratch> scratch_;
        Sizes reserved_;
    };

    const InferenceKernels& kernels_;
    Pool pool_;
    Room of_attention_, of_linear_;
};

}  // namespace compsrt
