// Everything that is compiled once per level of instructions. Included by level_*.cpp inside a namespace of their own,
// after the vector type; nothing of the standard library may be used here, or the linker might keep a copy of it that
// only the highest level can run.

// A number that is known when this is compiled. A parameter of type `Lanes` is the number of lanes of a window: a Count, or
// an int that is known only when this runs.
template <int N>
struct Count {
    static constexpr int value = N;
    constexpr operator int() const { return N; }
};

#include "vectors.h"
#include "hadamard.h"
#include "quantize.h"
#if COMPSRT_SPARSE
#include "sparse.h"
#endif
#include "products.h"
#include "linear.h"
#include "norm.h"
#include "attention_floats.h"
#if COMPSRT_INTEGER
constexpr int kKeys = W == 16 ? 4 : 2;
#include "attention_codes.h"
#endif
#include "block.h"
#include "conv.h"
