#include "engine/scratch.h"

#include <algorithm>
#include <chrono>

#include "engine/grid.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(from, bytes) ((void)(from), (void)(bytes))
#endif

namespace compsrt {

constexpr size_t kLine = 64;  // bytes of a cache line

static size_t padded_width(int width) {
    size_t m = 1;
    while (m < (size_t)width) m *= 2;
    return m;
}

// Hands out parts of one allocation, each on cache lines of its own, or only counts their bytes.
class Parts {
   public:
    explicit Parts(void* memory) : base_((char*)(((uintptr_t)memory + kLine - 1) / kLine * kLine)), counting_(!memory) {}

    template <class T>
    void take(T*& part, size_t count) {
        const size_t bytes = sizeof(T) * count, begin = used_;
        used_ += (bytes + kLine - 1) / kLine * kLine + kLine;  // a line between them keeps columns off the same cache sets
        if (counting_) return;
        part = (T*)(base_ + begin);
        ASAN_POISON_MEMORY_REGION(base_ + begin + bytes, used_ - begin - bytes);
    }
    size_t bytes() const { return used_ + kLine; }

   private:
    char* base_;
    bool counting_;
    size_t used_ = 0;
};

size_t Scratch::lay_out(const Network& n, void* memory) {
    T = 4 * n.lanes;
    const size_t t = T;
    bool is_sparse = false;
    size_t hidden_rows = 0, head_rows = 1, map_rows = 0;
    for (int g = 0; g < n.groups; g++)
        for (int b = 0; b < n.group[g].blocks; b++) {
            const Block& block = n.group[g].block[b];
            const Attention& a = block.attention;
            hidden_rows = std::max(hidden_rows, padded_width(block.hidden));
            head_rows = std::max(head_rows, padded_width(a.head_dim));
            map_rows = std::max(map_rows, padded_width(a.tokens));
            for (const Linear* l : {&block.q, &block.k, &block.v, &block.proj, &block.fc1, &block.fc2})
                is_sparse |= !!l->sparse;
        }
    const size_t rows_ = padded_width(n.channels), widest = std::max(rows_, hidden_rows);
    const size_t conv_channels = std::max(n.in_channels, n.channels), tall = whole_strips(n.window);
    const size_t outputs = std::max(n.channels, n.out_channels * n.scale * n.scale) + 16;
    const size_t pitch = pitch_of(Grid(n, n.window, n.window).tile_width());
    Parts parts(memory);
    parts.take(rows, rows_ * t);
    parts.take(input, widest * t);
    parts.take(hidden, hidden_rows * t);
    parts.take(qkv, 3 * (size_t)n.channels * t);
    parts.take(scores, map_rows * t);
    for (float*& p : operands) parts.take(p, std::max(head_rows, (size_t)16) * t);
    for (float*& p : small) parts.take(p, std::max(t, head_rows));
    for (float*& p : code_sums) parts.take(p, t);
    for (float*& p : units) parts.take(p, t);
    for (uint8_t*& p : codes) parts.take(p, (widest + 16) * t);
    parts.take(code_pairs, is_sparse ? (widest + 3) / 4 * 12 * t : 0);
    for (uint8_t*& p : head_codes) parts.take(p, (head_rows + 16) * t);
    parts.take(pairs, (map_rows + 2) / 2 * t);
    parts.take(values, head_rows * t);
    parts.take(starts, std::max(t, head_rows));
    parts.take(from, t);
    parts.take(to, t);
    parts.take(planes, conv_channels * (tall + 2) * pitch + 64);
    parts.take(result, outputs * tall * pitch);
    parts.take(line, kDown * pitch + 64);
    parts.take(mixed, kDown * kAcross * conv_channels * pitch / 2);
    parts.take(sums, kDown * kAcross * outputs * pitch / 2);
    return parts.bytes();
}

void Scratch::add_time(Stage stage) {
    using namespace std::chrono;
    const int64_t now = duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
    if (stage < kStages) spent[stage] += (now - since) * 1e-9;
    since = now;
}

}  // namespace compsrt
