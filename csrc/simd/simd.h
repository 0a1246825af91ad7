// The vectors of the level for which this file is compiled. COMPSRT_LEVEL names it; csrc/levels.py has its flags.
//
// Include it once per source file, inside namespace compsrt and an anonymous one. Such a file must not call inline
// functions of the standard library: the linker might keep this level's copy for all levels.
#pragma once
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define INLINED __attribute__((always_inline))
#define OUTLINED __attribute__((noinline))
#define UNROLL _Pragma("GCC unroll 64")  // for loops with a constant count

#define COMPSRT_PASTED(a, b) a##b
#define COMPSRT_NAMED(name, level) COMPSRT_PASTED(name, level)
#define COMPSRT_TEXT(name) #name
#define COMPSRT_HEADER(level) COMPSRT_TEXT(simd/level-inl.h)
#define COMPSRT_SIMD COMPSRT_HEADER(COMPSRT_LEVEL)
