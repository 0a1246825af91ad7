// Vectors of 8 floats with FMA: what AVX2 and AVX-VNNI share.
#define COMPSRT_INTEGER 1
constexpr int W = 8;
constexpr int kRegisters = 16;
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

// Lane i of the result is lane i ^ K of a.
template <int K>
INLINE F swapped(F a) {
    return K == 1 ? _mm256_permute_ps(a, 0xB1) : K == 2 ? _mm256_permute_ps(a, 0x4E) : _mm256_permute2f128_ps(a, a, 1);
}
// One step of the butterfly across lanes: lane i and lane i ^ K become their sum and difference.
template <int K>
INLINE F lane_butterfly(F a) {
    constexpr int odd = K == 1 ? 0xAA : K == 2 ? 0xCC : 0xF0;
    const F b = swapped<K>(a);
    return _mm256_blend_ps(_mm256_add_ps(b, a), _mm256_sub_ps(b, a), odd);
}

// The first `count` floats, followed by zeros; memory beyond them is not accessed.
INLINE I first_lanes(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE F load_some(const float* p, int count) { return _mm256_maskload_ps(p, first_lanes(count)); }
INLINE void store_some(float* p, F v, int count) { _mm256_maskstore_ps(p, first_lanes(count), v); }

// Separate the even and odd values of a and b, in an order of this level, and interleave them again.
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
INLINE I all_16_bytes(__m128i v) { return _mm256_broadcastsi128_si256(v); }
INLINE I low_half(I a) { return _mm256_and_si256(a, _mm256_set1_epi32(0xFFFF)); }
INLINE I high_half(I a) { return _mm256_andnot_si256(_mm256_set1_epi32(0xFFFF), a); }

// Four rows of 8 values → rounded codes, four bytes a lane, clamped to 0 … top; every byte of `top` holds that value.
INLINE I codes4(F a, F b, F c, F d, I top) {
    const I order = all_16_bytes(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    I low = _mm256_packs_epi32(to_int(a), to_int(b)), high = _mm256_packs_epi32(to_int(c), to_int(d));
    return _mm256_shuffle_epi8(_mm256_min_epu8(_mm256_packus_epi16(low, high), top), order);
}
// Two rows of values → two 16-bit codes a lane, clamped likewise.
INLINE I codes2(F a, F b, I top) {
    const I order = all_16_bytes(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    return _mm256_shuffle_epi8(_mm256_min_epu16(_mm256_packus_epi32(to_int(a), to_int(b)), top), order);
}
INLINE void store_16bit(int16_t* p, F v) {
    I packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(to_int(v), izero()), 0x08);
    _mm_storeu_si128((__m128i*)p, _mm256_castsi256_si128(packed));
}

// Σ of two neighbouring products, per 16 bits (unsigned × signed bytes, saturated) and per lane (16-bit integers).
INLINE I products_of_bytes(I a, I b) { return _mm256_maddubs_epi16(a, b); }
INLINE I products_of_pairs(I a, I b) { return _mm256_madd_epi16(a, b); }
INLINE I bytes_at(I a, I order) { return _mm256_shuffle_epi8(a, order); }
// The lower (or upper) 8 of each 16 bytes of a, followed by those of b.
INLINE I low_quarters(I a, I b) { return _mm256_unpacklo_epi64(a, b); }
INLINE I high_quarters(I a, I b) { return _mm256_unpackhi_epi64(a, b); }
// The lower (or upper) four of each eight 16-bit integers, as 32-bit integers.
INLINE I widened_low(I a) { return _mm256_srai_epi32(_mm256_unpacklo_epi16(a, a), 16); }
INLINE I widened_high(I a) { return _mm256_srai_epi32(_mm256_unpackhi_epi16(a, a), 16); }
