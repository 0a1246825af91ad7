#define BEGIN_TARGET
#define END_TARGET
#define NAME(function) function##_plain
#include "fake_quantize.inc"
