// The network as plain structures. Python owns the memory of every pointer.
// Mirrored in compsrt_plugin/native/structures.py.
#pragma once
#include <stdint.h>

#include "kernels/fake_quantize.h"

namespace compsrt {

// x̂ = s·r + Z, r = clamp(round((x̃ − Z) / s), 0, top), x̃ = x H / √width or x itself. top 0: not quantized.
// `per_token`: s and Z are in units of the largest |x̃| of each token, code_scale in units of the largest unnormalized |x̃|.
// The engine keeps the unnormalized unit; the factors of products contain its 1/√width.
struct Quantizer {
    float scale;
    float zero;
    int32_t top;
    int32_t transform;
    int32_t width;       // rows of the domain: the input's, or the next power of two
    float code_scale;    // codes of the unnormalized butterfly: r = round(x̃·code_scale + code_offset)
    float code_offset;
    int32_t per_token;
    int32_t centre;      // integer subtracted from codes in products, which centres them around zero
};

// The two weights that 2:4 pruning leaves of a row's four neighbours, see sparse-inl.h.
struct TwoOfFour {
    int32_t at;         // 6 · group + number of the pair
    int8_t weights[4];  // the two weights, twice
};

// A linear layer. `integer`: the input as codes r, the weight as signed w' = c − its centre, and
//   y = unit (alpha Σ r'w' + beta Σ r' + gamma) + bias,  r' = r − centre, unit that of the token, or 1.
// Otherwise y = Σ weight·x̂ + bias in floats.
struct Linear {
    int32_t inputs, outputs;
    int32_t columns, rows;  // the columns and rows that pruning leaves
    int32_t integer;
    int32_t inverse;        // whether x̂ is transformed back before the product
    Quantizer input;
    const float* signs;           // [inputs] sign vector (±1) of the input, applied first; or null
    const int32_t* kept_columns;  // [columns] or null: all
    const int32_t* kept_rows;     // [rows] or null: all
    const float* weight;          // [rows][columns]
    const int8_t* codes;          // [rows][columns rounded up to 4]
    const TwoOfFour* sparse;      // the same weights [rows][columns / 4, rounded up]; null: not 2:4 sparse
    const int32_t* start;         // [rows] (code_shift − centre) · Σ w'
    const float *alpha, *beta, *gamma;  // [rows]
    const float* bias;            // [outputs]
};

// softmax(q kᵀ + bias) v of one block. Rows of the map are keys, lanes are queries.
struct Attention {
    int32_t heads, head_dim;
    int32_t tokens, keys, key_lanes;  // tokens: queries; keys lie in `key_lanes` lanes
    int32_t lanes;                    // of queries at a time, where attention stands by itself
    Quantizer q, k, v, map;
    int32_t integer_scores;
    int32_t integer_map;  // number of 16-bit matrices that V takes; 0: floats
    const int32_t* lane_of_row;  // [keys]: the lane of the key of each row of the map
    const float* bias;           // [heads][keys][lanes], times log2(e)
    // integer scores in units of log2, times the units of the query and of the key:
    //   alpha Σ q'k' + key_beta Σ k' + query_beta Σ q' + gamma;  the last two are 0 unless keys have per-token units,
    //   since a term that all keys share cancels in the softmax
    float alpha, key_beta, query_beta, gamma;
    // integer map·v, see attention_codes-inl.h
    float out_alpha, out_beta, sum_alpha, sum_beta, first_alpha, first_beta;
    float score_scale;           // factor of q kᵀ in float scores; the constants of integer scores contain it
};

struct Norm {
    const float *weight, *bias;
    float epsilon;
};

struct Block {
    int32_t shifted;
    int32_t hidden;
    Norm norm1, norm2;
    Linear q, k, v, proj, fc1, fc2;
    Attention attention;
};

struct Conv {
    int32_t inputs, outputs;
    float slope;          // of the leaky ReLU after it; 1: none
    const float* weight;  // [outputs][inputs][3][3]
    const float* bias;    // [outputs] or null
};

struct Group {
    int32_t blocks, convs;
    const Block* block;
    const Conv* conv;
};

// An image is divided into cells. Rows of cells are alternately `split` and `window − split` pixels high, and columns
// alternate likewise. Every window, shifted or not, is 2 × 2 cells.
struct Network {
    int32_t channels, in_channels, window, split, lanes;  // lanes of a cell
    int32_t groups, tail_convs, scale, out_channels;
    const Group* group;
    const Conv *first, *tail;  // tail: conv_after_body
    const Conv* upsample;      // null: features are the output
    Norm patch_norm, last_norm;  // patch_norm.weight null: there is none
    const float* mean;           // [in_channels]
    float range;
};

enum Stage { kTransform, kQuantize, kProducts, kScores, kSoftmaxStage, kMapProducts, kNorm, kGelu, kConv, kCopies, kStages };

}  // namespace compsrt
