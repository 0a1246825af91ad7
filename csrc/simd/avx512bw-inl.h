// AVX-512 without VNNI.
#include "zmm-inl.h"

#include "sums16-inl.h"
