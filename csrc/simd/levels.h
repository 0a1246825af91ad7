// The levels of instructions: one table, best first.
#pragma once
#include "kernels/table.h"

namespace compsrt {

struct Level {
    const char* name;
    int32_t available;  // whether this processor can run it
    int32_t conv_rows;  // output channels that a convolution computes at a time
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
