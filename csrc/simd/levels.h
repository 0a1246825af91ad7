// The levels of instructions: one table, best first.
#pragma once
#include "kernels/table.h"

namespace compsrt {

struct Level {
    const char* name;
    int32_t available;  // whether this processor can run it
    Integers integers;
};

struct LevelKernels {
    const char* name;
    bool (*available)();
    const CalibrationKernels* calibration;
    const InferenceKernels* inference;
};

extern const LevelKernels level_table[];
extern const int level_count;

}  // namespace compsrt
