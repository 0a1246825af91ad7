// Operators on strided tensors, for parts of any network.
#pragma once
#include <cstddef>
#include <vector>

#include "engine/pool.h"
#include "simd/levels.h"

namespace compsrt {

// A tensor [problem][token][channel]: the start of each problem, and the offsets of its tokens from there.
struct Problems {
    float* data;
    const int64_t* begin;     // [problems]
    const int64_t* at;        // [tables][tokens], or null: token · number
    const int32_t* table_of;  // [problems], or null: table 0
    int64_t token, channel;   // floats between tokens and between channels
};

// A tensor [row][channel].
struct Rows {
    float* data;
    const int64_t* at;        // [rows], or null: stride · number
    int64_t stride, channel;  // floats between rows and between channels
};

// y = activation(layer(norm(x))) + residual on rows; each part is optional.
struct RowsCall {
    int64_t rows;
    int32_t channels;      // of x
    int32_t activation;
    Rows x, residual, y;   // residual.data is null without a residual
    const Norm* norm;      // or null
    const Linear* linear;  // or null
};

// Mean, or variance, of the channels of each row: y [rows].
struct MomentsCall {
    int64_t rows;
    int32_t channels, variance;
    Rows x, y;
};

// Over the rows of each group: y [group][channels] = factor Σ x, or the square root of Σ x².
struct ReductionCall {
    int64_t groups, rows;    // rows of each group
    int32_t channels, root;  // root: of the sum of squares
    float factor;
    Rows x, y;  // x: one group after another
};

// An operand of attention between channels: [pixel][head · channels].
struct ChannelOperand {
    Rows x;
    const float* divisor;  // [heads · channels], divides the operand before all else; or null
    const float* signs;    // [channels] of ±1 of its transform, or null
    const Quantizer* quantizer;
};

// y [heads][channels][channels] = Σ over pixels of q̂ k̂ᵀ.
struct GramCall {
    int64_t rows;
    int32_t heads, channels;
    ChannelOperand q, k;
    Rows y;
};

// y [pixel][head · channels] = map v̂ of each head.
struct MixCall {
    int64_t rows;
    int32_t heads, channels;
    const float* map;  // [heads][channels][channels]
    ChannelOperand v;
    Rows y;
};

// A depth-wise convolution with zero padding, or max pooling with the same kernel; rows are pixels.
struct DepthwiseCall {
    int32_t images, height, width, channels, kernel_height, kernel_width, dilation, activation;
    Rows x, y;
    const float *weight, *bias;  // [kernel_height][kernel_width][channels], [channels]; both null: max pooling
};

// A 3×3 convolution with zeros around the image, an activation and a sum. Rows are pixels.
struct ConvolutionCall {
    int32_t images, height, width, inputs, outputs, blocks, activation;
    Rows x, residual, y;         // residual.data null: none
    const float *weight, *bias;  // see PackedConv
};

// One arithmetic instruction on registers, see elementwise-inl.h.
struct Instruction {
    int32_t operation, to, left, right;
    float number;
};

// y = an element-wise expression of the inputs. An input has the rows of y; a channel stride of 0 broadcasts.
struct ElementwiseCall {
    int64_t rows;
    int32_t channels, inputs, instructions, result;
    const Rows* x;  // [inputs], in registers 0 …
    Rows y;
    const Instruction* program;
};

// softmax(factor q kᵀ + tables) v of many problems, each one head of one window.
struct AttentionCall {
    int32_t problems;
    Problems q, k, v, out;
    const float *q_signs, *k_signs, *v_signs;     // [channels] sign vectors of the operands, v's of the output too; or null
    // Added to the scores, times log2(e): tables [·][queries / lanes][key][lane of the query]. Each problem has one table of
    // each kind.
    const float *table, *other_table;             // other_table may be null
    const int32_t *table_of, *other_table_of;     // [problems]
    const float* factors;                         // [problems], or null: 1
};

class Operators {
   public:
    Operators(const InferenceKernels& kernels, int threads)
        : kernels_(kernels), pool_(threads), of_attention_(pool_.threads()), of_rows_(pool_.threads()),
          of_convolutions_(pool_.threads()) {}

    int threads() const { return pool_.threads(); }
    void attention(const Attention& attention, const AttentionCall& call);
    void rows(const RowsCall& call);
    void moments(const MomentsCall& call);
    void reduction(const ReductionCall& call);
    void gram(const GramCall& call);
    void mix(const MixCall& call);
    void depthwise(const DepthwiseCall& call);
    void convolution(const ConvolutionCall& call);
    void elementwise(const ElementwiseCall& call);

   private:
    // `count` rows from `first` on → to [channels][lanes], zeros after them; and back.
    void gather(const Rows& x, int64_t first, int count, int channels, int lanes, float* to) const;
    void scatter(const float* from, const Rows& y, int64_t first, int count, int channels, int lanes) const;

    // Buffers of each thread. Attention and row operators alternate, so each kind keeps its own.
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

    // Call `work(first row, rows, scratch)` for each kTokensAtOnce rows.
    template <class Work>
    void in_chunks(int64_t rows, const Sizes& sizes, const Work& work);

    const InferenceKernels& kernels_;
    Pool pool_;
    Room of_attention_, of_rows_, of_convolutions_;
};

}  // namespace compsrt
