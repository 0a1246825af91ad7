#include "engine/engine.h"

#include <algorithm>
#include <cstring>

namespace compsrt {

constexpr size_t kAlign = 64;

static float* aligned(float* p) { return (float*)(((uintptr_t)p + kAlign - 1) / kAlign * kAlign); }

void Engine::Cells::reserve(size_t count) {
    if (memory.size() < count + kAlign) {
        memory = std::vector<float>();  // free the old buffer first: both may not fit in memory
        memory.resize(count + kAlign);
    }
    data = aligned(memory.data());
}

Engine::Engine(const Network& network, const InferenceKernels& kernels, int threads)
    : network_(network),
      kernels_(kernels),
      pool_(threads),
      scratch_(pool_.threads()),
      first_(pack(*network.first, kernels.conv_rows)) {
    for (Scratch& s : scratch_) {
        memory_.emplace_back(s.lay_out(sizes_of(network), nullptr));  // zeros
        s.lay_out(sizes_of(network), memory_.back().data());
    }
    if (network.upsample) upsample_ = pack(*network.upsample, kernels.conv_rows);
    for (int g = 0; g < network.groups; g++) {
        groups_.emplace_back();
        for (int c = 0; c < network.group[g].convs; c++)
            groups_.back().push_back(pack(network.group[g].conv[c], kernels.conv_rows));
    }
    for (int c = 0; c < network.tail_convs; c++) tail_.push_back(pack(network.tail[c], kernels.conv_rows));
}

void Engine::reserve(const Grid& grid) {
    const size_t size = (size_t)grid.cells() * grid.lanes * network_.channels;
    for (Cells* cells : {&shallow_, &group_, &stream_}) cells->reserve(size);
    bool between = network_.tail_convs > 1;
    for (int g = 0; g < network_.groups; g++) between |= network_.group[g].convs > 1;
    if (between)
        for (Cells& cells : between_) cells.reserve(size);
}

void Engine::run(const float* in, float* out, int h, int w) {
    const Grid grid(network_, h, w);
    reserve(grid);
    float *shallow = shallow_.data, *group = group_.data, *stream = stream_.data;
    const int tiles = grid.tiles(), pitch = pitch_of(grid.tile_width());
    pool_.run(grid.rows * tiles, [&](int number, int thread) {
        Scratch& s = scratch_[thread];
        const int row = number / tiles, tile = number % tiles;
        s.begin();
        grid.gather_image(in, network_.mean, network_.range, network_.in_channels, row, tile, s.planes);
        s.end(kCopies);
        kernels_.conv(first_.weight.data(), first_.bias.data(), s.planes, s.result, network_.in_channels, first_.blocks,
                       whole_strips(grid.size(row)), grid.tile_width(), pitch, s.line, s.mixed, s.sums);
        s.end(kConv);
        grid.scatter(s.result, network_.channels, 1, row, tile, nullptr, shallow);
        s.end(kCopies);
    });
    if (network_.patch_norm.weight)
        run_norm(grid, network_.patch_norm, shallow, group);
    else
        std::memcpy(group, shallow, sizeof(float) * grid.cells() * grid.lanes * network_.channels);
    for (int g = 0; g < network_.groups; g++) {
        run_blocks(grid, network_.group[g], group, stream);
        run_convs(grid, network_.group[g].conv, groups_[g].data(), network_.group[g].convs, stream, group, group);
    }
    run_norm(grid, network_.last_norm, group, group);
    run_convs(grid, network_.tail, tail_.data(), network_.tail_convs, group, shallow, shallow);
    pool_.run(grid.rows * (network_.upsample ? tiles : 1), [&](int number, int thread) {
        Scratch& s = scratch_[thread];
        s.begin();
        if (!network_.upsample) {
            grid.unfold(shallow, network_.channels, number, out);
            return s.end(kCopies);
        }
        const int row = number / tiles, tile = number % tiles;
        grid.gather(shallow, network_.channels, row, tile, s.planes);
        s.end(kCopies);
        kernels_.conv(upsample_.weight.data(), upsample_.bias.data(), s.planes, s.result, network_.channels,
                       upsample_.blocks, whole_strips(grid.size(row)), grid.tile_width(), pitch, s.line, s.mixed, s.sums);
        s.end(kConv);
        grid.shuffle(s.result, network_.out_channels, network_.scale, network_.mean, network_.range, row, tile, out);
        s.end(kCopies);
    });
}

void Engine::run_blocks(const Grid& grid, const Group& group, const float* source, float* target) {
    const int down = grid.rows / 2, across = grid.columns / 2;
    for (int b = 0; b < group.blocks; b++) {
        const Block& block = group.block[b];
        const float* from = b ? target : source;  // the residual still needs the group's input
        pool_.run(down * across, [&](int number, int thread) {
            const int i = number / across, j = number % across, shift = block.shifted;
            const bool last_row = shift && i == down - 1, last_column = shift && j == across - 1;
            Window window = {};
            window.masked = last_row || last_column;
            for (int a = 0; a < 4; a++) {
                const int row = (2 * i + shift + a / 2) % grid.rows, column = (2 * j + shift + a % 2) % grid.columns;
                const size_t at = grid.cell(row, column, network_.channels);
                window.source[a] = from + at;
                window.target[a] = target + at;
                for (int k = 0; k < 4; k++) {
                    const bool hidden = (last_row && a / 2 != k / 2) || (last_column && a % 2 != k % 2);
                    window.mask[a][k] = hidden ? -100 * 1.44269504f : 0;
                }
            }
            kernels_.block(network_, block, window, scratch_[thread]);
        });
    }
}

void Engine::run_norm(const Grid& grid, const Norm& norm, const float* in, float* out) {
    pool_.run(grid.cells() / 4, [&](int number, int thread) {
        Scratch& s = scratch_[thread];
        s.begin();
        const float* from[4];
        float* to[4];
        for (int i = 0; i < 4; i++) {
            const size_t at = (size_t)(4 * number + i) * network_.channels * grid.lanes;
            from[i] = in + at;
            to[i] = out + at;
        }
        kernels_.norm(norm, from, to, network_.channels, grid.lanes);
        s.end(kNorm);
    });
}

void Engine::run_convs(const Grid& grid, const Conv* convs, const PackedConv* packed, int count, const float* from,
                       const float* residual, float* to) {
    const int tiles = grid.tiles(), pitch = pitch_of(grid.tile_width());
    for (int c = 0; c < count; c++) {
        const bool last = c == count - 1;
        float* target = last ? to : between_[c % 2].data;
        pool_.run(grid.rows * tiles, [&](int number, int thread) {
            Scratch& s = scratch_[thread];
            const int row = number / tiles, tile = number % tiles;
            s.begin();
            grid.gather(from, convs[c].inputs, row, tile, s.planes);
            s.end(kCopies);
            kernels_.conv(packed[c].weight.data(), packed[c].bias.data(), s.planes, s.result, convs[c].inputs, packed[c].blocks,
                           whole_strips(grid.size(row)), grid.tile_width(), pitch, s.line, s.mixed, s.sums);
            s.end(kConv);
            grid.scatter(s.result, convs[c].outputs, convs[c].slope, row, tile, last ? residual : nullptr, target);
            s.end(kCopies);
        });
        from = target;
    }
}

void Engine::profile(bool on) {
    spent_.assign(on ? scratch_.size() * kStages : 0, 0.0);
    for (size_t i = 0; i < scratch_.size(); i++) scratch_[i].spent = on ? spent_.data() + i * kStages : nullptr;
}

void Engine::take_times(double* seconds) {
    for (int stage = 0; stage < kStages; stage++) seconds[stage] = 0;
    for (size_t i = 0; i < spent_.size(); i++) seconds[i % kStages] += spent_[i];
    std::fill(spent_.begin(), spent_.end(), 0.0);
}

}  // namespace compsrt
