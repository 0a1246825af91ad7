// Run by .ci/sanitize under a sanitizer for data races: every number of a round is taken once, and what a thread wrote is
// seen by the caller, whether workers were awake or asleep.
#include "engine/pool.h"

#include <chrono>
#include <cstdio>
#include <vector>

static bool rounds_are_whole(int threads, int rounds, bool asleep) {
    compsrt::Pool pool(threads);
    std::vector<int> of_thread(threads);  // no atomics: only the pool keeps them apart
    int expected = 0;
    for (int round = 0; round < rounds; round++) {
        const int count = round * 7 % 53;
        std::vector<int> taken(count);
        pool.run(count, [&](int number, int thread) {
            taken[number]++;
            of_thread[thread]++;
        });
        for (int times : taken)
            if (times != 1) return false;
        expected += count;
        if (asleep) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    int sum = 0;
    for (int count : of_thread) sum += count;
    return sum == expected;
}

int main() {
    for (int threads = 1; threads <= 6; threads++)
        for (bool asleep : {false, true})
            if (!rounds_are_whole(threads, asleep ? 20 : 300, asleep)) {
                std::printf("%d threads: a number was lost or taken twice\n", threads);
                return 1;
            }
    for (int i = 0; i < 200; i++) compsrt::Pool pool(4);  // ended before they began to work
    return 0;
}
