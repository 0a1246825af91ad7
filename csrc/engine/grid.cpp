#include "engine/grid.h"

#include <cstring>

namespace compsrt {

static int smaller(int a, int b) { return a < b ? a : b; }

// Half a window of 8 has four pixels: a copy without a loop pays.
static inline void copy_pixels(float* to, const float* from, int count) {
    if (count == 4)
        std::memcpy(to, from, 16);
    else
        for (int i = 0; i < count; i++) to[i] = from[i];
}

void Grid::gather(const float* cells, int channels, int row, int tile, float* planes) const {
    const int first = tile * tile_columns(), last = smaller(columns, first + tile_columns());
    const int h = size(row), x0 = start(first), pitch = pitch_of(tile_width());
    const size_t plane = (size_t)(whole_strips(h) + 2) * pitch;
    const int count = start(last - 1) + size(last - 1) - x0;
    for (int dy = -1; dy <= whole_strips(h); dy++) {
        const int y = start(row) + dy;
        float* line = planes + (size_t)(dy + 1) * pitch;
        for (int c = 0; c < channels; c++) line[c * plane + count + 2] = 0;
        if (y < 0 || y >= height || dy > h) {
            for (int c = 0; c < channels; c++) std::memset(line + c * plane, 0, sizeof(float) * pitch);
            continue;
        }
        const int inner = y % window, from_row = y / window * 2 + (inner >= split);
        const int in_cell = inner >= split ? inner - split : inner;
        for (int column = first; column < last; column++) {
            const int w = size(column);
            const float* from = cells + cell(from_row, column, channels) + in_cell * w;
            float* to = line + start(column) - x0 + 1;
            for (int c = 0; c < channels; c++) copy_pixels(to + c * plane, from + (size_t)c * lanes, w);
        }
        for (int side = 0; side < 2; side++) {  // the pixels left and right of the tile
            const int x = side ? start(last - 1) + size(last - 1) : x0 - 1;
            float* to = line + x - x0 + 1;
            if (x < 0 || x >= width) {
                for (int c = 0; c < channels; c++) to[c * plane] = 0;
                continue;
            }
            const int in_x = x % window, column = x / window * 2 + (in_x >= split);
            const float* from = cells + cell(from_row, column, channels) + in_cell * size(column) + (x - start(column));
            for (int c = 0; c < channels; c++) to[c * plane] = from[(size_t)c * lanes];
        }
    }
}

void Grid::gather_image(const float* image, const float* mean, float range, int channels, int row, int tile,
                          float* planes) const {
    const int first = tile * tile_columns(), last = smaller(columns, first + tile_columns());
    const int h = size(row), x0 = start(first), x1 = start(last - 1) + size(last - 1), pitch = pitch_of(tile_width());
    for (int c = 0; c < channels; c++)
        for (int dy = -1; dy <= whole_strips(h); dy++) {
            const int y = start(row) + dy;
            float* line = planes + ((size_t)c * (whole_strips(h) + 2) + dy + 1) * pitch;
            const ptrdiff_t from = ((ptrdiff_t)c * height + y) * width;  // y may be -1: an offset, since a pointer there would be undefined
            for (int x = x0 - 1; x <= x1 + 1; x++) {
                const bool outside = y < 0 || y >= height || dy > h || x < 0 || x >= width || x > x1;
                line[x - x0 + 1] = outside ? 0 : (image[from + x] - mean[c]) * range;
            }
        }
}

void Grid::scatter(const float* result, int channels, float slope, int row, int tile, const float* residual,
                   float* cells) const {
    const int first = tile * tile_columns(), last = smaller(columns, first + tile_columns());
    const int h = size(row), x0 = start(first), pitch = pitch_of(tile_width());
    for (int column = first; column < last; column++) {
        const int w = size(column), x = start(column) - x0;
        const size_t at = cell(row, column, channels);
        for (int c = 0; c < channels; c++)
            for (int y = 0; y < h; y++) {
                const float* from = result + ((size_t)c * whole_strips(h) + y) * pitch + x;
                const size_t place = at + (size_t)c * lanes + y * w;
                for (int i = 0; i < w; i++) {
                    float value = from[i];
                    if (slope != 1) value = value < 0 ? value * slope : value;
                    cells[place + i] = residual ? value + residual[place + i] : value;
                }
            }
    }
}

void Grid::shuffle(const float* result, int out_channels, int scale, const float* mean, float range, int row, int tile,
                   float* image) const {
    const int first = tile * tile_columns(), last = smaller(columns, first + tile_columns());
    const int h = size(row), x0 = start(first), count = start(last - 1) + size(last - 1) - x0;
    const int pitch = pitch_of(tile_width());
    for (int c = 0; c < out_channels; c++)
        for (int y = 0; y < h; y++)
            for (int dy = 0; dy < scale; dy++) {
                float* to = image + (((size_t)c * height + start(row) + y) * scale + dy) * width * scale + x0 * scale;
                for (int dx = 0; dx < scale; dx++) {
                    const int o = (c * scale + dy) * scale + dx;
                    const float* from = result + ((size_t)o * whole_strips(h) + y) * pitch;
                    for (int x = 0; x < count; x++) to[x * scale + dx] = from[x] / range + mean[c];
                }
            }
}

void Grid::unfold(const float* cells, int channels, int row, float* image) const {
    for (int column = 0; column < columns; column++) {
        const int w = size(column);
        const float* from = cells + cell(row, column, channels);
        for (int c = 0; c < channels; c++)
            for (int y = 0; y < size(row); y++)
                std::memcpy(image + ((size_t)c * height + start(row) + y) * width + start(column),
                            from + (size_t)c * lanes + y * w, sizeof(float) * w);
    }
}

}  // namespace compsrt
