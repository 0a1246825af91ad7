// Compiles what lies between BEGIN_TARGET("…") and END_TARGET for a set of instructions, in GCC and clang.
#pragma once

#define PRAGMA(...) _Pragma(#__VA_ARGS__)
#if defined(__clang__)
#define BEGIN_TARGET(SET) PRAGMA(clang attribute push(__attribute__((target(SET))), apply_to = function))
#define END_TARGET PRAGMA(clang attribute pop)
#else
#define BEGIN_TARGET(SET) PRAGMA(GCC push_options) PRAGMA(GCC target(SET))
#define END_TARGET PRAGMA(GCC pop_options)
#endif
