#define BEGIN_TARGET
#define END_TARGET
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#define NAME(function) function##_plain
#include "fake_quantize.inc"
