// The vectors of the level that this file is compiled for: COMPSRT_LEVEL names it, and csrc/levels.py says how.
//
// Include inside namespace compsrt and an anonymous one, once a source file. No inline function of the standard library
// may be called in such a file: the linker might keep this level's copy of it for everybody.
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
#define UNROLL _Pragma("GCC unroll 64")  // a loop whose count is known

#define COMPSRT_PASTED(a, b) a##b
#define COMPSRT_NAMED(name, level) COMPSRT_PASTED(name, level)
#define COMPSRT_TEXT(name) #name
#define COMPSRT_HEADER(level) COMPSRT_TEXT(simd/level-inl.h)
#define COMPSRT_SIMD COMPSRT_HEADER(COMPSRT_LEVEL)
