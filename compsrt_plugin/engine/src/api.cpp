// The C interface that library.py loads; never imported as a Python module.
#include <new>

#include "cpu.h"
#include "engine.h"

using compsrt::Engine;

#if defined(_WIN32)
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

// Name of the level that would be used, or null if `wanted` cannot run here.
EXPORT const char* compsrt_level(const char* wanted) {
    const compsrt::Kernels* kernels = compsrt::kernels_of(wanted);
    return kernels ? kernels->name : nullptr;
}

// Bytes of each structure, for structures.py to compare with its own.
EXPORT void compsrt_sizes(int32_t* sizes) {
    const size_t found[] = {sizeof(compsrt::Quantizer), sizeof(compsrt::Linear), sizeof(compsrt::Attention),
                            sizeof(compsrt::Norm),      sizeof(compsrt::Block),  sizeof(compsrt::Conv),
                            sizeof(compsrt::Group),     sizeof(compsrt::Network)};
    for (size_t size : found) *sizes++ = (int32_t)size;
}

// Null if there is not enough memory. With fewer threads than asked for where the system starts no more.
EXPORT void* compsrt_create(const compsrt::Network* network, const char* level, int threads) {
    try {
        return new Engine(*network, compsrt::kernels_of(level), threads);
    } catch (...) {
        return nullptr;
    }
}

// How many threads there are, that of the caller included.
EXPORT int compsrt_threads(void* engine) { return ((Engine*)engine)->threads(); }

EXPORT int compsrt_run(void* engine, const float* in, float* out, int h, int w) {
    try {
        ((Engine*)engine)->run(in, out, h, w);
        return 0;
    } catch (...) {
        return 1;
    }
}

EXPORT void compsrt_profile(void* engine, int on) { ((Engine*)engine)->profile(on); }
EXPORT void compsrt_times(void* engine, double* seconds) { ((Engine*)engine)->take_times(seconds); }
EXPORT void compsrt_destroy(void* engine) { delete (Engine*)engine; }

// setuptools expects a module's entry point to export.
EXPORT void* PyInit__engine() { return nullptr; }
