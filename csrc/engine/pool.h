// A thread pool that works on the numbers 0 … count − 1; the caller is one of the threads.
//
// Only the engine uses it: its tasks are uneven and follow each other without a pause. Calibration kernels run between
// torch's own operations and use torch's OpenMP threads. Those spin while they wait, so a second pool would compete with
// them for the cores.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace compsrt {

class Pool {
   public:
    // Start fewer threads if the system refuses more.
    explicit Pool(int threads);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int threads() const { return (int)workers_.size() + 1; }

    // Call `work(number, thread)` once for each number. A thread takes the next number when it is free.
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
