#define BEGIN_LEVEL
#define END_LEVEL
#define VECTOR_BYTES 16
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#define NAME(function) function##_plain
#include "fake_quantize.inc"
