#define LEVEL avx2
#define SET "avx2,fma"
#define SIMD "simd_avx2.h"
#include "level_x86.inc"
