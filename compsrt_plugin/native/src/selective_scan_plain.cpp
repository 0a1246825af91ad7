#define BEGIN_LEVEL
#define END_LEVEL
#define NAME(function) function##_plain
#include "selective_scan.inc"
