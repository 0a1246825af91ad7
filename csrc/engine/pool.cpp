#include "engine/pool.h"

#include <system_error>

namespace compsrt {

// A round takes a few milliseconds and the next follows immediately: to spin costs less than to wake a sleeping thread.
constexpr int kSpins = 4000;

static void pause_briefly() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
}

Pool::Pool(int threads) {
    workers_.reserve(threads - 1);  // after this only the start of a thread can fail
    try {
        for (int thread = 1; thread < threads; thread++) workers_.emplace_back([this, thread] { serve(thread); });
    } catch (const std::system_error&) {
    }
}

Pool::~Pool() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
        round_++;
    }
    called_.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

void Pool::run(int count, Call call, const void* work) {
    call_ = call;
    work_ = work;
    count_ = count;
    next_ = 0;
    busy_ = (int)workers_.size();
    bool wake;
    {
        std::lock_guard<std::mutex> lock(mutex_);
        round_++;
        wake = sleeping_ > 0;
    }
    if (wake) called_.notify_all();
    take(0);
    for (int spin = 0; busy_.load(std::memory_order_acquire) > 0; spin++)
        spin < kSpins ? pause_briefly() : std::this_thread::yield();
}

void Pool::take(int thread) {
    for (int number; (number = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) call_(work_, number, thread);
}

void Pool::serve(int thread) {
    unsigned seen = 0;
    for (;;) {
        for (int spin = 0; spin < kSpins && round_.load(std::memory_order_acquire) == seen; spin++) pause_briefly();
        if (round_.load(std::memory_order_acquire) == seen) {
            std::unique_lock<std::mutex> lock(mutex_);
            sleeping_++;
            called_.wait(lock, [&] { return round_.load() != seen; });
            sleeping_--;
        }
        seen++;
        if (stop_) return;
        take(thread);
        busy_.fetch_sub(1, std::memory_order_release);
    }
}

}  // namespace compsrt
