#define LEVEL avx512
#define SET "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma"
#define SIMD "simd_avx512.h"
#include "level_x86.inc"
