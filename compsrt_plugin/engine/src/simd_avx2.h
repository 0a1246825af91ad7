// Vectors of 8 floats: AVX2 with FMA. Byte products are summed in 16 bits: sums.py grants the integer path only where
// those sums fit.
#include <immintrin.h>

constexpr int W = 8;
#define COMPSRT_INTEGER 1
#define COMPSRT_SPARSE 1
typedef __m256 F;
typedef __m256i I;

INLINE F load(const float* p) { return _mm256_loadu_ps(p); }
INLINE void store(float* p, F v) { _mm256_storeu_ps(p, v); }
INLINE F all(float v) { return _mm256_set1_ps(v); }
INLINE F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
INLINE F larger(F a, F b) { return _mm256_max_ps(a, b); }
INLINE F smaller(F a, F b) { return _mm256_min_ps(a, b); }
INLINE F magnitude(F a) { return _mm256_andnot_ps(all(-0.0f), a); }
INLINE F square_root(F a) { return _mm256_sqrt_ps(a); }
INLINE F nearest(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE F times_power(F a, F n) {
    __m256i bits = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(a, _mm256_castsi256_ps(bits));
}
INLINE float sum(F a) {
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

// One step of the butterfly across lanes: lane i and lane i ^ K become their sum and difference.
template <int K>
INLINE F lane_butterfly(F a) {
    F b = K == 1 ? _mm256_permute_ps(a, 0xB1) : K == 2 ? _mm256_permute_ps(a, 0x4E) : _mm256_permute2f128_ps(a, a, 1);
    constexpr int odd = K == 1 ? 0xAA : K == 2 ? 0xCC : 0xF0;
    return _mm256_blend_ps(_mm256_add_ps(b, a), _mm256_sub_ps(b, a), odd);
}

// Every second value of a and b, in an order of their own, and the two woven together again.
INLINE F evens(F a, F b) { return _mm256_shuffle_ps(a, b, 0x88); }
INLINE F odds(F a, F b) { return _mm256_shuffle_ps(a, b, 0xDD); }
INLINE F woven_first(F even, F odd) { return _mm256_unpacklo_ps(even, odd); }
INLINE F woven_last(F even, F odd) { return _mm256_unpackhi_ps(even, odd); }

INLINE I iload(const void* p) { return _mm256_loadu_si256((const I*)p); }
INLINE void istore(void* p, I v) { _mm256_storeu_si256((I*)p, v); }
INLINE I izero() { return _mm256_setzero_si256(); }
INLINE I iall(int v) { return _mm256_set1_epi32(v); }
INLINE I broadcast4(const void* p) {
    int v;
    __builtin_memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
}
INLINE F to_float(I v) { return _mm256_cvtepi32_ps(v); }
INLINE I to_int(F v) { return _mm256_cvtps_epi32(v); }
INLINE I subtract_bytes(I a, I b) { return _mm256_sub_epi8(a, b); }
INLINE I all_bytes(int v) { return _mm256_set1_epi8((char)v); }
INLINE I low_half(I a) { return _mm256_and_si256(a, _mm256_set1_epi32(0xFFFF)); }
INLINE I high_half(I a) { return _mm256_andnot_si256(_mm256_set1_epi32(0xFFFF), a); }

// Four rows of 8 values → their rounded codes, four bytes a lane, limited to 0 … top, which every byte of it holds.
INLINE I codes4(F a, F b, F c, F d, I top) {
    const I order = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    I low = _mm256_packs_epi32(to_int(a), to_int(b)), high = _mm256_packs_epi32(to_int(c), to_int(d));
    return _mm256_shuffle_epi8(_mm256_min_epu8(_mm256_packus_epi16(low, high), top), order);
}
// Two rows of values → two 16-bit codes a lane, limited likewise.
INLINE I codes2(F a, F b, I top) {
    const I order = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    return _mm256_shuffle_epi8(_mm256_min_epu16(_mm256_packus_epi32(to_int(a), to_int(b)), top), order);
}
INLINE void store_16bit(int16_t* p, F v) {
    I packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(to_int(v), izero()), 0x08);
    _mm_storeu_si128((__m128i*)p, _mm256_castsi256_si128(packed));
}

// Σ of four unsigned × signed bytes, per lane; two 16-bit sums a lane until `dot_end`, the first of which takes the start.
typedef int16_t Sum __attribute__((vector_size(32)));
INLINE Sum dot_begin(int start) { return (Sum)_mm256_set1_epi32(start & 0xFFFF); }
INLINE Sum dot(Sum sum, I codes, I weights) { return sum + (Sum)_mm256_maddubs_epi16(codes, weights); }
INLINE I dot_end(Sum sum) { return _mm256_madd_epi16((I)sum, _mm256_set1_epi16(1)); }

// Σ of two products of 16-bit integers, per lane.
typedef int32_t PairSum __attribute__((vector_size(32)));
INLINE PairSum pairs_begin(int start) { return (PairSum)_mm256_set1_epi32(start); }
INLINE PairSum dot_pairs(PairSum sum, I a, I b) { return sum + (PairSum)_mm256_madd_epi16(a, b); }

// In every 16 bytes bytes a and b of each four neighbours, then bytes c and d of them.
INLINE I in_each_16(int a, int b, int c, int d) {
    __m128i four = _mm_setr_epi8(0, 0, 4, 4, 8, 8, 12, 12, 0, 0, 4, 4, 8, 8, 12, 12);
    __m128i of_four = _mm_unpacklo_epi64(_mm_set1_epi16((short)(a | b << 8)), _mm_set1_epi16((short)(c | d << 8)));
    return _mm256_broadcastsi128_si256(_mm_add_epi8(four, of_four));
}
INLINE I bytes_at(I a, I order) { return _mm256_shuffle_epi8(a, order); }
// The lower, or upper, 8 of each 16 bytes of a, and behind them those of b.
INLINE I low_quarters(I a, I b) { return _mm256_unpacklo_epi64(a, b); }
INLINE I high_quarters(I a, I b) { return _mm256_unpackhi_epi64(a, b); }

// The lower, or upper, four of each eight 16-bit sums, in 32 bits.
INLINE Sum sums_begin(int start) { return (Sum)_mm256_set1_epi16((short)start); }
INLINE I sums_low(Sum s) { return _mm256_srai_epi32(_mm256_unpacklo_epi16((I)s, (I)s), 16); }
INLINE I sums_high(Sum s) { return _mm256_srai_epi32(_mm256_unpackhi_epi16((I)s, (I)s), 16); }
