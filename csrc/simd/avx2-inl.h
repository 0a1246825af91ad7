// AVX2.
#include "ymm-inl.h"

#include "sums16-inl.h"
