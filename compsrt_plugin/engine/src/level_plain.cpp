#include "scratch.h"
#define INLINE static inline __attribute__((always_inline))
#define INLINED __attribute__((always_inline))
#define OUTLINED __attribute__((noinline))

namespace compsrt {
namespace {
#include "simd_plain.h"

#include "level.h"
}  // namespace

const Kernels* plain_kernels() {
    static const Kernels kernels = {"plain", false, kConvRows, run_block, normalize_cells, conv};
    return &kernels;
}
}  // namespace compsrt
