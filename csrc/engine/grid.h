// Image features in cells, and their conversion from and to rows of pixels.
#pragma once
#include <cstddef>

#include "engine/scratch.h"

namespace compsrt {

constexpr int kTilePixels = 64;              // a convolution's tile is at least one cell wide, and about this many pixels
inline int pitch_of(int width) { return (width + 31) / 32 * 32 + 16; }  // the last vectors may extend past the row

// The layout of the cells of an image of h × w pixels; (row, column) counts cells, lanes are pixels of a row.
struct Grid {
    int window, split, lanes, height, width, rows, columns;

    Grid(const Network& n, int h, int w)
        : window(n.window), split(n.split), lanes(n.lanes), height(h), width(w), rows(2 * (h / n.window)),
          columns(2 * (w / n.window)) {}

    int cells() const { return rows * columns; }
    int size(int index) const { return index & 1 ? window - split : split; }  // pixels along one axis
    int start(int index) const { return index / 2 * window + (index & 1 ? split : 0); }
    size_t cell(int row, int column, int channels) const {
        return ((size_t)row * columns + column) * channels * lanes;
    }
    int tile_columns() const {  // even: all tiles have the same width
        int windows = kTilePixels / window;
        return 2 * (windows > 0 ? windows : 1);
    }
    int tiles() const { return (columns + tile_columns() - 1) / tile_columns(); }
    int tile_width() const { return tile_columns() / 2 * window; }

    // Copy one tile with a border of one pixel, zeros outside the image: planes [channels][height + 2][pitch]. Here and
    // below the height is rounded up to whole strips. Padding of the last strip or pair of columns is 0. Winograd's
    // transform mixes it with its neighbours; it cancels again up to rounding.
    void gather(const float* cells, int channels, int row, int tile, float* planes) const;
    // Copy the same from an image [channels][height][width], as (x − mean) · range.
    void gather_image(const float* image, const float* mean, float range, int channels, int row, int tile,
                        float* planes) const;
    // Copy a result [channels][height][pitch] to cells, after a leaky ReLU, plus `residual` (also cells; may be null).
    void scatter(const float* result, int channels, float slope, int row, int tile, const float* residual,
                 float* cells) const;
    // Copy a result to an image [out_channels][height · scale][width · scale] by pixel shuffle, as x / range + mean.
    void shuffle(const float* result, int out_channels, int scale, const float* mean, float range, int row, int tile,
                 float* image) const;
    // Copy cells to an image [channels][height][width].
    void unfold(const float* cells, int channels, int row, float* image) const;
};

}  // namespace compsrt
