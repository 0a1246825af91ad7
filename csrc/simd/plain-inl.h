// Vectors of 4 floats as compiler extensions: SSE2, NEON or another set of the processor. No integer products.
#define COMPSRT_INTEGER 0
#define COMPSRT_SPARSE 0
constexpr int W = 4;
constexpr int kRegisters = 16;
constexpr int kSumBits = 0, kProductsPerSum = 0, kCodeShift = 0;
typedef float F __attribute__((vector_size(16)));
typedef int32_t Bits __attribute__((vector_size(16)));

INLINE F load(const float* p) {
    F v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store(float* p, F v) { __builtin_memcpy(p, &v, sizeof v); }
INLINE F all(float v) { return F{v, v, v, v}; }
INLINE F fma(F a, F b, F c) { return a * b + c; }
INLINE F larger(F a, F b) { return a > b ? a : b; }
INLINE F smaller(F a, F b) { return a < b ? a : b; }
INLINE F magnitude(F a) { return larger(a, -a); }
INLINE F square_root(F a) {
    return F{__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]), __builtin_sqrtf(a[3])};
}
// Adding 1.5·2^23 leaves no bit for the fraction: rounds half to even for |a| < 2^22.
INLINE F nearest(F a) { return (a + 12582912.0f) - 12582912.0f; }
INLINE F times_power(F a, F n) { return a * (F)((__builtin_convertvector(n, Bits) + 127) << 23); }

// Lane i of the result is lane i ^ K of a.
template <int K>
INLINE F swapped(F a) {
    return F{a[K & 3], a[(1 ^ K) & 3], a[(2 ^ K) & 3], a[(3 ^ K) & 3]};
}
// One step of the butterfly across lanes: lane i and lane i ^ K become their sum and difference.
template <int K>
INLINE F lane_butterfly(F a) {
    const F b = swapped<K>(a), total = b + a, difference = b - a;
    return K == 1 ? F{total[0], difference[1], total[2], difference[3]}
                  : F{total[0], total[1], difference[2], difference[3]};
}

// The first `count` floats, followed by zeros; memory beyond them is not accessed.
INLINE F load_some(const float* p, int count) {
    F v{};
    __builtin_memcpy(&v, p, sizeof(float) * count);
    return v;
}
INLINE void store_some(float* p, F v, int count) { __builtin_memcpy(p, &v, sizeof(float) * count); }

// Separate the even and odd values of a and b, and interleave them again.
INLINE F evens(F a, F b) { return F{a[0], a[2], b[0], b[2]}; }
INLINE F odds(F a, F b) { return F{a[1], a[3], b[1], b[3]}; }
INLINE F woven_first(F even, F odd) { return F{even[0], odd[0], even[1], odd[1]}; }
INLINE F woven_last(F even, F odd) { return F{even[2], odd[2], even[3], odd[3]}; }
