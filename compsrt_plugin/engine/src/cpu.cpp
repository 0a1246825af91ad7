// Which level of instructions this processor and its operating system can run.
#include <cstring>

#include "cpu.h"

namespace compsrt {

static const Kernels* best_of(const Kernels* (*level)(), bool supported) { return supported ? level() : nullptr; }

// Asked of the processor before the level's own file is entered: even the function that names it is compiled for it.
static const Kernels* avx512() {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    return best_of(avx512_kernels, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                                       __builtin_cpu_supports("avx512vnni"));
#else
    return nullptr;
#endif
}

static const Kernels* avx2() {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    return best_of(avx2_kernels, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
#else
    return nullptr;
#endif
}

const Kernels* kernels_of(const char* wanted) {
    const bool any = !wanted || !*wanted;
    const Kernels* const found[] = {avx512(), avx2(), plain_kernels()};
    for (const Kernels* level : found)
        if (level && (any || !std::strcmp(level->name, wanted))) return level;
    return nullptr;
}

}  // namespace compsrt
