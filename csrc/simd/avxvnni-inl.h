// AVX-VNNI: 8 floats as in AVX2, and byte products summed in 32 bits, for processors without AVX-512.
#include "ymm-inl.h"

#define COMPSRT_SPARSE 0  // vpdpbusd computes four products as fast as two
constexpr int kSumBits = 32, kProductsPerSum = 4, kCodeShift = 0;

// Σ of four unsigned × signed bytes, per lane. Sums have their own type: the compiler keeps them in registers only if
// no step converts them.
typedef int32_t Sum __attribute__((vector_size(32)));
INLINE Sum dot_begin(int start) { return (Sum)_mm256_set1_epi32(start); }
INLINE Sum dot(Sum sum, I codes, I weights) { return (Sum)_mm256_dpbusd_avx_epi32((I)sum, codes, weights); }
INLINE I dot_end(Sum sum) { return (I)sum; }

// Σ of two products of 16-bit integers, per lane.
typedef Sum PairSum;
INLINE PairSum pairs_begin(int start) { return (PairSum)_mm256_set1_epi32(start); }
INLINE PairSum dot_pairs(PairSum sum, I a, I b) { return (PairSum)_mm256_dpwssd_avx_epi32((I)sum, a, b); }
