#if defined(__x86_64__)
#include "target.h"

#define BEGIN_LEVEL BEGIN_TARGET("avx2")
#define END_LEVEL END_TARGET
#define NAME(function) function##_avx2
#include "selective_scan.inc"
#endif
