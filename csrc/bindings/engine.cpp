// The engine; a handle is an `Engine*`.
#include "bindings/guard.h"
#include "engine/engine.h"

using namespace compsrt;

// Start fewer threads than requested if the system refuses more.
EXPORT int compsrt_engine_create(int level, const Network* network, int threads, void** engine) {
    return guarded([&] { *engine = new Engine(*network, *level_table[level].inference, threads); });
}

// Return the number of threads, including the caller's.
EXPORT int compsrt_engine_threads(void* engine) { return ((Engine*)engine)->threads(); }

EXPORT int compsrt_engine_run(void* engine, const float* in, float* out, int h, int w) {
    return guarded([&] { ((Engine*)engine)->run(in, out, h, w); });
}

EXPORT int compsrt_engine_profile(void* engine, int on) {
    return guarded([&] { ((Engine*)engine)->profile(on); });
}

EXPORT int compsrt_engine_times(void* engine, double* seconds) {
    return guarded([&] { ((Engine*)engine)->take_times(seconds); });
}

EXPORT int compsrt_engine_destroy(void* engine) {
    return guarded([&] { delete (Engine*)engine; });
}
