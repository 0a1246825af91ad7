// Wrappers of functions that Python calls through ctypes: no exception leaves them.
#pragma once
#include <new>

#if defined(_WIN32)
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace compsrt {

enum Status : int { kDone = 0, kNoMemory = 1, kFailed = 2 };

template <class Action>
int guarded(Action action) noexcept {
    try {
        action();
        return kDone;
    } catch (const std::bad_alloc&) {
        return kNoMemory;
    } catch (...) {
        return kFailed;
    }
}

}  // namespace compsrt
