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

static size_t padded_width(size_t width) {
    size_t m = 1;
    while (m < width) m *= 2;
    return m;
}

// Divide one allocation into buffers on separate cache lines, or only count their bytes.
class Parts {
   public:
    explicit Parts(void* memory) : base_((char*)(((uintptr_t)memory + kLine - 1) / kLine * kLine)), counting_(!memory) {}

    template <class T>
    void take(T*& part, size_t count) {
        const size_t bytes = sizeof(T) * count, begin = used_;
        used_ += (bytes + kLine - 1) / kLine * kLine + kLine;  // a line between buffers keeps columns out of the same cache sets
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

Sizes sizes_of(const Network& n) {
    Sizes sizes;
    sizes.lanes = 4 * n.lanes;
    sizes.channels = n.channels;
    for (int g = 0; g < n.groups; g++)
        for (int b = 0; b < n.group[g].blocks; b++) {
            const Block& block = n.group[g].block[b];
            sizes.hidden = std::max<size_t>(sizes.hidden, block.hidden);
            sizes.head = std::max<size_t>(sizes.head, block.attention.head_dim);
            sizes.keys = std::max<size_t>(sizes.keys, block.attention.keys);
            for (const Linear* l : {&block.q, &block.k, &block.v, &block.proj, &block.fc1, &block.fc2})
                sizes.sparse |= !!l->sparse;
        }
    sizes.planes = std::max(n.in_channels, n.channels);
    sizes.outputs = std::max(n.channels, n.out_channels * n.scale * n.scale) + 16;
    sizes.tall = whole_strips(n.window);
    sizes.pitch = pitch_of(Grid(n, n.window, n.window).tile_width());
    return sizes;
}

size_t Scratch::lay_out(const Sizes& n, void* memory) {
    T = (int)n.lanes;
    const size_t t = n.lanes, rows_ = padded_width(n.channels), hidden_rows = n.hidden ? padded_width(n.hidden) : 0;
    const size_t head_rows = padded_width(n.head), map_rows = n.keys ? padded_width(n.keys) : 0;
    const size_t widest = std::max(rows_, hidden_rows);
    Parts parts(memory);
    parts.take(rows, rows_ * t);
    parts.take(input, widest * t);
    parts.take(hidden, hidden_rows * t);
    parts.take(qkv, 3 * n.channels * t);
    parts.take(scores, map_rows * (t + 16));
    for (float*& p : operands) parts.take(p, std::max(head_rows, (size_t)16) * t);
    for (float*& p : small) parts.take(p, std::max(t, head_rows));
    for (float*& p : code_sums) parts.take(p, t);
    for (float*& p : units) parts.take(p, t);
    for (uint8_t*& p : codes) parts.take(p, (widest + 16) * t);
    parts.take(code_pairs, n.sparse ? (widest + 3) / 4 * 12 * t : 0);
    for (uint8_t*& p : head_codes) parts.take(p, (head_rows + 16) * t);
    parts.take(pairs, (map_rows + 2) / 2 * (t + 16));
    parts.take(values, 2 * head_rows * t);
    parts.take(starts, std::max(t, head_rows));
    parts.take(from, t);
    parts.take(to, t);
    parts.take(planes, n.planes * (n.tall + 2) * n.pitch + 64);
    parts.take(result, n.outputs * n.tall * n.pitch);
    parts.take(line, kDown * n.pitch + 64);
    parts.take(mixed, kDown * kAcross * n.planes * n.pitch / 2);
    parts.take(sums, kDown * kAcross * n.outputs * n.pitch / 2);
    return parts.bytes();
}

void Scratch::add_time(Stage stage) {
    using namespace std::chrono;
    const int64_t now = duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
    if (stage < kStages) spent[stage] += (now - since) * 1e-9;
    since = now;
}

}  // namespace compsrt
