#include "scratch.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define TARGET target("avx2,fma")
#define INLINE static inline __attribute__((always_inline))
#define INLINED __attribute__((always_inline, TARGET))  // a lambda in a template does not see the pragma
#define OUTLINED __attribute__((noinline, TARGET))
#if defined(__clang__)
#pragma clang attribute push(__attribute__((TARGET)), apply_to = function)
#else
#pragma GCC target("avx2,fma")  // to the end of the file, for templates are compiled there
#endif

namespace compsrt {
namespace {
#include "simd_avx2.h"

#include "level.h"
}  // namespace

const Kernels* avx2_kernels() {
    static const Kernels kernels = {"avx2", true, kConvRows, run_block, normalize_cells, conv};
    return &kernels;
}
}  // namespace compsrt

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
namespace compsrt {
const Kernels* avx2_kernels() { return nullptr; }
}  // namespace compsrt
#endif
