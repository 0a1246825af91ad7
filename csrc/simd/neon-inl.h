// NEON of 64-bit Arm with dot-product instructions (FEAT_DotProd). They take signed bytes, so codes enter less 128.
#define COMPSRT_INTEGER 1
#define COMPSRT_SPARSE 0
constexpr int W = 4;
constexpr int kRegisters = 32;
constexpr int kSumBits = 32, kProductsPerSum = 4, kCodeShift = 128;
typedef float32x4_t F;
typedef int32x4_t I;

INLINE F load(const float* p) { return vld1q_f32(p); }
INLINE void store(float* p, F v) { vst1q_f32(p, v); }
INLINE F all(float v) { return vdupq_n_f32(v); }
INLINE F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
INLINE F larger(F a, F b) { return vmaxq_f32(a, b); }
INLINE F smaller(F a, F b) { return vminq_f32(a, b); }
INLINE F magnitude(F a) { return vabsq_f32(a); }
INLINE F square_root(F a) { return vsqrtq_f32(a); }
INLINE F nearest(F a) { return vrndnq_f32(a); }
INLINE F times_power(F a, F n) {
    const I bits = vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23);
    return vmulq_f32(a, vreinterpretq_f32_s32(bits));
}

// Lane i of the result is lane i ^ K of a.
template <int K>
INLINE F swapped(F a) {
    return K == 1 ? vrev64q_f32(a) : vextq_f32(a, a, 2);
}
// One step of the butterfly across lanes: lane i and lane i ^ K become their sum and difference.
template <int K>
INLINE F lane_butterfly(F a) {
    const uint32_t far = K == 1 ? 0 : ~0u;
    const uint32x4_t odd = {0, ~far, far, ~0u};
    const F b = swapped<K>(a);
    return vbslq_f32(odd, vsubq_f32(b, a), vaddq_f32(b, a));
}

// The first `count` floats, followed by zeros; memory beyond them is not accessed.
INLINE F load_some(const float* p, int count) {
    F v = all(0.0f);
    __builtin_memcpy(&v, p, sizeof(float) * count);
    return v;
}
INLINE void store_some(float* p, F v, int count) { __builtin_memcpy(p, &v, sizeof(float) * count); }

// Separate the even and odd values of a and b, and interleave them again.
INLINE F evens(F a, F b) { return vuzp1q_f32(a, b); }
INLINE F odds(F a, F b) { return vuzp2q_f32(a, b); }
INLINE F woven_first(F even, F odd) { return vzip1q_f32(even, odd); }
INLINE F woven_last(F even, F odd) { return vzip2q_f32(even, odd); }

INLINE I iload(const void* p) { return vreinterpretq_s32_s8(vld1q_s8((const int8_t*)p)); }
INLINE void istore(void* p, I v) { vst1q_s8((int8_t*)p, vreinterpretq_s8_s32(v)); }
INLINE I iall(int v) { return vdupq_n_s32(v); }
INLINE I broadcast4(const void* p) {
    int v;
    __builtin_memcpy(&v, p, 4);
    return vdupq_n_s32(v);
}
INLINE F to_float(I v) { return vcvtq_f32_s32(v); }
INLINE I to_int(F v) { return vcvtnq_s32_f32(v); }
INLINE I subtract_bytes(I a, I b) {
    return vreinterpretq_s32_s8(vsubq_s8(vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b)));
}
INLINE I all_bytes(int v) { return vreinterpretq_s32_s8(vdupq_n_s8((int8_t)v)); }
INLINE I low_half(I a) { return vandq_s32(a, vdupq_n_s32(0xFFFF)); }
INLINE I high_half(I a) { return vbicq_s32(a, vdupq_n_s32(0xFFFF)); }

// Four rows of 4 values → rounded codes, four bytes a lane, clamped to 0 … top; every byte of `top` holds that value.
INLINE I codes4(F a, F b, F c, F d, I top) {
    const uint8x16_t order = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    const int16x8_t low = vqmovn_high_s32(vqmovn_s32(to_int(a)), to_int(b));
    const int16x8_t high = vqmovn_high_s32(vqmovn_s32(to_int(c)), to_int(d));
    const uint8x16_t codes = vminq_u8(vqmovun_high_s16(vqmovun_s16(low), high), vreinterpretq_u8_s32(top));
    return vreinterpretq_s32_u8(vqtbl1q_u8(codes, order));
}
// Two rows of values → two 16-bit codes a lane, clamped likewise.
INLINE I codes2(F a, F b, I top) {
    const uint16x8_t both = vqmovun_high_s32(vqmovun_s32(to_int(a)), to_int(b));
    const uint16x8_t codes = vminq_u16(both, vreinterpretq_u16_s32(top));
    return vreinterpretq_s32_u16(vzip1q_u16(codes, vextq_u16(codes, codes, 4)));
}
INLINE void store_16bit(int16_t* p, F v) { vst1_s16(p, vqmovn_s32(to_int(v))); }

// Σ of four signed bytes, per lane.
typedef int32x4_t Sum;
INLINE Sum dot_begin(int start) { return vdupq_n_s32(start); }
INLINE Sum dot(Sum sum, I codes, I weights) {
    return vdotq_s32(sum, vreinterpretq_s8_s32(codes), vreinterpretq_s8_s32(weights));
}
INLINE I dot_end(Sum sum) { return sum; }

// Σ of two products of 16-bit integers, per lane.
typedef int32x4_t PairSum;
INLINE PairSum pairs_begin(int start) { return vdupq_n_s32(start); }
INLINE PairSum dot_pairs(PairSum sum, I a, I b) {
    const int16x8_t left = vreinterpretq_s16_s32(a), right = vreinterpretq_s16_s32(b);
    const I first = vmull_s16(vget_low_s16(left), vget_low_s16(right));
    return vaddq_s32(sum, vpaddq_s32(first, vmull_high_s16(left, right)));
}
