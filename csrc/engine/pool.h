// Threads that share out the numbers 0 … count − 1; the caller is one of them.
//
// The engine's alone: its tasks are uneven and follow each other at once. Kernels of calibration run between torch's own
// operations and share torch's OpenMP threads, which wait by spinning: a second pool would compete with them for the cores.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace compsrt {

class Pool {
   public:
    // Fewer threads where the system starts no more.
    explicit Pool(int threads);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int threads() const { return (int)workers_.size() + 1; }

    // Call `work(number, thread)` once for each number, threads taking the next one as they come free.
    template <class Work>
    void run(int count, const Work& work) {
        run(count, [](const void* w, int number, int thread) { (*(const Work*)w)(number, thread); }, &work);
    }

   private:
    using Call = void (*)(const void*, int, int);
    void run(int count, Call call, const void* work);
    void take(int thread);
    void serve(int thread);

    std::vector<std::thread> workers_;
    std::mutex mutex_;
    std::condition_variable called_;
    std::atomic<unsigned> round_{0};
    std::atomic<int> next_{0}, busy_{0};
    std::atomic<bool> stop_{false};
    int count_ = 0, sleeping_ = 0;
    Call call_ = nullptr;
    const void* work_ = nullptr;
};

}  // namespace compsrt
