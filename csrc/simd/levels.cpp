#include "simd/levels.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace compsrt {

// CPU detection. No code that is compiled for a level runs before it.
static bool plain_available() { return true; }
#if defined(__x86_64__)
static bool avx2_available() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static bool avxvnni_available() { return avx2_available() && __builtin_cpu_supports("avxvnni"); }
static bool avx512bw_available() {
    return avx2_available() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
static bool avx512_available() { return avx512bw_available() && __builtin_cpu_supports("avx512vnni"); }
#elif defined(__aarch64__) && defined(__APPLE__)
static bool neon_available() { return true; }  // every 64-bit Arm processor of Apple has dot products
#elif defined(__aarch64__)
static bool neon_available() { return getauxval(AT_HWCAP) & (1 << 20); }  // HWCAP_ASIMDDP
#endif

#define LEVEL(NAME)                                        \
    extern const CalibrationKernels calibration_##NAME; \
    extern const InferenceKernels inference_##NAME;
#include "simd/level_names.h"
#undef LEVEL

#define LEVEL(NAME) {#NAME, NAME##_available, &calibration_##NAME, &inference_##NAME},
const LevelKernels level_table[] = {
#include "simd/level_names.h"
};
#undef LEVEL
const int level_count = sizeof level_table / sizeof *level_table;

}  // namespace compsrt
