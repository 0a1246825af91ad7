// Byte products summed in 16 bits: two sums a lane, each of two of every four products. For levels without VNNI.
#define COMPSRT_SPARSE 1
constexpr int kSumBits = 16, kProductsPerSum = 2, kCodeShift = 0;

// Σ of four unsigned × signed bytes, per lane: two 16-bit sums a lane until `dot_end`. The first one begins at the start
// value.
typedef int16_t Sum __attribute__((vector_size(sizeof(I))));
INLINE Sum dot_begin(int start) { return (Sum)iall(start & 0xFFFF); }
INLINE Sum dot(Sum sum, I codes, I weights) { return sum + (Sum)products_of_bytes(codes, weights); }
INLINE I dot_end(Sum sum) { return products_of_pairs((I)sum, iall(0x00010001)); }

// Σ of two products of 16-bit integers, per lane.
typedef int32_t PairSum __attribute__((vector_size(sizeof(I))));
INLINE PairSum pairs_begin(int start) { return (PairSum)iall(start); }
INLINE PairSum dot_pairs(PairSum sum, I a, I b) { return sum + (PairSum)products_of_pairs(a, b); }

// In every 16 bytes: bytes a and b of each four neighbours (a, b, c, d), then their bytes c and d.
INLINE I in_each_16(int a, int b, int c, int d) {
    __m128i four = _mm_setr_epi8(0, 0, 4, 4, 8, 8, 12, 12, 0, 0, 4, 4, 8, 8, 12, 12);
    __m128i of_four = _mm_unpacklo_epi64(_mm_set1_epi16((short)(a | b << 8)), _mm_set1_epi16((short)(c | d << 8)));
    return all_16_bytes(_mm_add_epi8(four, of_four));
}

INLINE Sum sums_begin(int start) { return (Sum)iall((int)((uint32_t)(start & 0xFFFF) * 0x00010001u)); }
INLINE I sums_low(Sum s) { return widened_low((I)s); }
INLINE I sums_high(Sum s) { return widened_high((I)s); }
