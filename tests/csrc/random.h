// The same numbers on every machine. Each file has its own copy: the linker would keep one that all levels share, with
// instructions that this processor may not have.
#pragma once
#include <stdint.h>

namespace {

struct Random {
    uint64_t state = 88172645463325252u;

    uint32_t next() {  // xorshift64 (Marsaglia 2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return (uint32_t)(state >> 32);
    }
    float uniform(float low, float high) { return low + (high - low) * (next() >> 8) * (1.0f / (1 << 24)); }
    int integer(int low, int high) { return low + (int)(next() % (uint32_t)(high - low + 1)); }
};

}  // namespace
