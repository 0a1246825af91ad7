#pragma once
#include "scratch.h"

namespace compsrt {

// The level of that name, or the best if the name is empty or null; null where this processor cannot run it.
const Kernels* kernels_of(const char* wanted);

}  // namespace compsrt
