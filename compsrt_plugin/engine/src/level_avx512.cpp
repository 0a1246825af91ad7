#include "scratch.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define TARGET target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")
#define INLINE static inline __attribute__((always_inline))
#define INLINED __attribute__((always_inline, TARGET))  // a lambda in a template does not see the pragma
#define OUTLINED __attribute__((noinline, TARGET))
#if defined(__clang__)
#pragma clang attribute push(__attribute__((TARGET)), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")  // to the end of the file, for templates are compiled there
#endif

namespace compsrt {
namespace {
#include "simd_avx512.h"

#include "level.h"
}  // namespace

const Kernels* avx512_kernels() {
    static const Kernels kernels = {"avx512", true, kConvRows, run_block, normalize_cells, conv};
    return &kernels;
}
}  // namespace compsrt

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
namespace compsrt {
const Kernels* avx512_kernels() { return nullptr; }
}  // namespace compsrt
#endif
