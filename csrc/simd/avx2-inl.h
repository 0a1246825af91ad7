// AVX2. Byte products are summed in 16 bits: two sums a lane, each of two of every four products.
#include "ymm-inl.h"

#define COMPSRT_SPARSE 1
constexpr int kSumBits = 16, kProductsPerSum = 2, kLargestCode = 255;

// Σ of four unsigned × signed bytes, per lane: two 16-bit sums a lane until `dot_end`. The first one begins at the start
// value.
typedef int16_t Sum __attribute__((vector_size(32)));
INLINE Sum dot_begin(int start) { return (Sum)_mm256_set1_epi32(start & 0xFFFF); }
INLINE Sum dot(Sum sum, I codes, I weights) { return sum + (Sum)_mm256_maddubs_epi16(codes, weights); }
INLINE I dot_end(Sum sum) { return _mm256_madd_epi16((I)sum, _mm256_set1_epi16(1)); }

// Σ of two products of 16-bit integers, per lane.
typedef int32_t PairSum __attribute__((vector_size(32)));
INLINE PairSum pairs_begin(int start) { return (PairSum)_mm256_set1_epi32(start); }
INLINE PairSum dot_pairs(PairSum sum, I a, I b) { return sum + (PairSum)_mm256_madd_epi16(a, b); }

// In every 16 bytes: bytes a and b of each four neighbours (a, b, c, d), then their bytes c and d.
INLINE I in_each_16(int a, int b, int c, int d) {
    __m128i four = _mm_setr_epi8(0, 0, 4, 4, 8, 8, 12, 12, 0, 0, 4, 4, 8, 8, 12, 12);
    __m128i of_four = _mm_unpacklo_epi64(_mm_set1_epi16((short)(a | b << 8)), _mm_set1_epi16((short)(c | d << 8)));
    return _mm256_broadcastsi128_si256(_mm_add_epi8(four, of_four));
}
INLINE I bytes_at(I a, I order) { return _mm256_shuffle_epi8(a, order); }
// The lower (or upper) 8 of each 16 bytes of a, followed by those of b.
INLINE I low_quarters(I a, I b) { return _mm256_unpacklo_epi64(a, b); }
INLINE I high_quarters(I a, I b) { return _mm256_unpackhi_epi64(a, b); }

// The lower (or upper) four of each eight 16-bit sums, as 32-bit integers.
INLINE Sum sums_begin(int start) { return (Sum)_mm256_set1_epi16((short)start); }
INLINE I sums_low(Sum s) { return _mm256_srai_epi32(_mm256_unpacklo_epi16((I)s, (I)s), 16); }
INLINE I sums_high(Sum s) { return _mm256_srai_epi32(_mm256_unpackhi_epi16((I)s, (I)s), 16); }
