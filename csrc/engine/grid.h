// Features of an image in cells, and the way between them and rows of pixels.
#pragma once
#include <cstddef>

#include "engine/scratch.h"

namespace compsrt {

constexpr int kTilePixels = 64;              // a convolution's tile is at least one cell and about so many pixels wide
inline int pitch_of(int width) { return (width + 31) / 32 * 32 + 16; }  // the last vectors may reach past the row

// Where the cells of an image of h × w pixels are; (row, column) of cells, lanes in pixel rows.
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
    int tile_columns() const {  // even, so that all tiles are equally wide
        int windows = kTilePixels / window;
        return 2 * (windows > 0 ? windows : 1);
    }
    int tiles() const { return (columns + tile_columns() - 1) / tile_columns(); }
    int tile_width() const { return tile_columns() / 2 * window; }

    // Rows of pixels of one tile with one pixel around it, zeros beyond the image: planes [channels][height + 2][pitch],
    // height in whole strips here and below. What only fills the last strip, or the last pair of columns, is 0: a
    // convolution mixes it with its neighbours, and takes it out again but for rounding.
    void gather(const float* cells, int channels, int row, int tile, float* planes) const;
    // The same from an image [channels][height][width], as (x − mean) · range.
    void gather_image(const float* image, const float* mean, float range, int channels, int row, int tile,
                        float* planes) const;
    // result [channels][height][pitch] → cells, through a leaky ReLU, plus `residual` (cells as well; may be null).
    void scatter(const float* result, int channels, float slope, int row, int tile, const float* residual,
                 float* cells) const;
    // result → image [out_channels][height · scale][width · scale] by pixel shuffle, as x / range + mean.
    void shuffle(const float* result, int out_channels, int scale, const float* mean, float range, int row, int tile,
                 float* image) const;
    // cells → image [channels][height][width].
    void unfold(const float* cells, int channels, int row, float* image) const;
};

}  // namespace compsrt
