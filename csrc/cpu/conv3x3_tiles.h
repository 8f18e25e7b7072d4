// Tiles of an image to points and back, in two dimensions, for channels-last images of any size and
// any number of channels. Only in a stamped region.
#pragma once

#include "cpu/conv3x3_plan.h"
#include "cpu/isa.h"
#include "cpu/minimal_filter.h"

namespace fastgan::cpu::FASTGAN_STAMPED {

using conv3x3::GradPlan;
using conv3x3::kPanel;
using conv3x3::kPlanePad;
using conv3x3::Plan;

// The first `count` floats of a vector: for the last channels where they do not fill one.
static inline Vec load_some(const float* p, int64_t count) {
  float values[kLanes] = {};
  std::memcpy(values, p, count * sizeof(float));
  return load(values);
}

static inline void store_some(float* p, Vec a, int64_t count) {
  float values[kLanes];
  store(values, a);
  std::memcpy(p, values, count * sizeof(float));
}

// x -> points, as the convolution needs it: the tile and a border of one pixel.
template <typename Filter>
struct OfInput {
  static constexpr int kIn = Filter::kIn, kBorder = 1;
  static FASTGAN_INLINE void apply(const Vec* x, Vec* p) { Filter::data(x, p); }
};

// grad_y -> points, for the gradient of the weight: the adjoint of the way out.
template <typename Filter>
struct OfGradient {
  static constexpr int kIn = Filter::kOut, kBorder = 0;
  static FASTGAN_INLINE void apply(const Vec* y, Vec* p) { Filter::out_adjoint(y, p); }
};

// Where one tile lies in its image.
struct Tile {
  int64_t sample, top, left;  // of its outputs

  Tile(const Plan& plan, int64_t index)
      : sample(index / (plan.tiles_y * plan.tiles_x)),
        top(index / plan.tiles_x % plan.tiles_y * plan.tile),
        left(index % plan.tiles_x * plan.tile) {}
};

// Reads pixels of a tile: by steps where it lies inside of the image, by addresses where not (those
// of pixels outside are the address of zeros).
struct Inside {
  const float* first;
  int64_t row, pixel;
  FASTGAN_INLINE Vec at(int i, int j, int64_t c) const {
    return load(first + i * row + j * pixel + c);
  }
};

template <int kIn>
struct Addressed {
  const float* pixels[kIn][kIn];
  FASTGAN_INLINE Vec at(int i, int j, int64_t c) const { return load(pixels[i][j] + c); }
};

template <int kIn>
struct Partial {
  const Addressed<kIn>& of;
  int64_t count;
  FASTGAN_INLINE Vec at(int i, int j, int64_t c) const {
    return load_some(of.pixels[i][j] + c, count);
  }
};

// One vector of channels of one tile to the points [.][kFirst, kFirst + kCount), kCount per row;
// point (a, b) goes to v + (a * kCount + b - kFirst) * plane.
template <typename Filter, typename Transform, int kFirst, int kCount, typename Reader>
FASTGAN_APART void tile_to_points(const Reader& read, int64_t c, float* v, int64_t plane) {
  constexpr int kIn = Transform::kIn, kPoints = Filter::kPoints;
  Vec rows[kIn][kPoints];
  FASTGAN_UNROLL
  for (int i = 0; i < kIn; ++i) {
    Vec pixels[kIn];
    FASTGAN_UNROLL
    for (int j = 0; j < kIn; ++j) pixels[j] = read.at(i, j, c);
    Transform::apply(pixels, rows[i]);
  }
  FASTGAN_UNROLL
  for (int b = kFirst; b < kFirst + kCount; ++b) {
    Vec column[kIn], points[kPoints];
    FASTGAN_UNROLL
    for (int i = 0; i < kIn; ++i) column[i] = rows[i][b];
    Transform::apply(column, points);
    FASTGAN_UNROLL
    for (int a = 0; a < kPoints; ++a) store(v + (a * kCount + b - kFirst) * plane, points[a]);
  }
}

// `count` tiles from `first` on to v: [points][channels / kLanes][strip][kLanes], planes `plane`
// apart. `zeros`: as many as x has channels, rounded up to vectors.
template <typename Filter, typename Transform, int kFirst, int kCount>
void tiles_to_points(const Plan& plan, int64_t channels, const float* x, int64_t first,
                     int64_t count, const float* zeros, float* v, int64_t plane) {
  constexpr int kIn = Transform::kIn;
  const int64_t whole = channels / kLanes * kLanes, row = plan.width * channels;
  for (int64_t t = 0; t < count; ++t, v += kLanes) {
    const Tile tile(plan, first + t);
    const int64_t top = tile.top - Transform::kBorder, left = tile.left - Transform::kBorder;
    const float* image = x + tile.sample * plan.height * row;
    const bool inside =
        top >= 0 && left >= 0 && top + kIn <= plan.height && left + kIn <= plan.width;
    if (inside && whole == channels) {
      const Inside read{image + top * row + left * channels, row, channels};
      for (int64_t c = 0; c < whole; c += kLanes) {
        tile_to_points<Filter, Transform, kFirst, kCount>(read, c, v + c * plan.strip, plane);
      }
      continue;
    }
    Addressed<kIn> read;
    for (int i = 0; i < kIn; ++i) {
      for (int j = 0; j < kIn; ++j) {
        const int64_t at_y = top + i, at_x = left + j;
        const bool in = at_y >= 0 && at_y < plan.height && at_x >= 0 && at_x < plan.width;
        read.pixels[i][j] = in ? image + at_y * row + at_x * channels : zeros;
      }
    }
    for (int64_t c = 0; c < whole; c += kLanes) {
      tile_to_points<Filter, Transform, kFirst, kCount>(read, c, v + c * plan.strip, plane);
    }
    if (whole < channels) {
      const Partial<kIn> rest{read, channels - whole};
      tile_to_points<Filter, Transform, kFirst, kCount>(rest, whole, v + whole * plan.strip, plane);
    }
  }
}

// One vector of channels of one tile: points, `plane` apart, to outputs.
template <typename Filter>
FASTGAN_INLINE void points_to_tile(const float* m, int64_t plane,
                                   Vec (&y)[Filter::kOut][Filter::kOut]) {
  constexpr int kOut = Filter::kOut, kPoints = Filter::kPoints;
  Vec rows[kPoints][kOut];
  FASTGAN_UNROLL
  for (int a = 0; a < kPoints; ++a) {
    Vec points[kPoints];
    FASTGAN_UNROLL
    for (int b = 0; b < kPoints; ++b) points[b] = load(m + (a * kPoints + b) * plane);
    Filter::out(points, rows[a]);
  }
  FASTGAN_UNROLL
  for (int j = 0; j < kOut; ++j) {
    Vec column[kPoints], outputs[kOut];
    FASTGAN_UNROLL
    for (int a = 0; a < kPoints; ++a) column[a] = rows[a][j];
    Filter::out(column, outputs);
    FASTGAN_UNROLL
    for (int i = 0; i < kOut; ++i) y[i][j] = outputs[i];
  }
}

// Such outputs to where they lie: `row` and `pixel` apart, all of them.
template <typename Filter>
FASTGAN_APART void put_tile(const float* m, int64_t plane, float* to, int64_t row, int64_t pixel) {
  constexpr int kOut = Filter::kOut;
  Vec values[kOut][kOut];
  points_to_tile<Filter>(m, plane, values);
  FASTGAN_UNROLL
  for (int i = 0; i < kOut; ++i) {
    FASTGAN_UNROLL
    for (int j = 0; j < kOut; ++j) store(to + i * row + j * pixel, values[i][j]);
  }
}

// The same for a tile of which `rows` x `columns` pixels and `count` channels are in the image.
template <typename Filter>
FASTGAN_APART void put_part(const float* m, int64_t plane, float* to, int64_t row, int64_t pixel,
                            int rows, int columns, int64_t count) {
  constexpr int kOut = Filter::kOut;
  Vec values[kOut][kOut];
  points_to_tile<Filter>(m, plane, values);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) store_some(to + i * row + j * pixel, values[i][j], count);
  }
}

// `count` tiles from `first` on, channels [from, from + vectors * kLanes), out of
// m: [points][tiles][vectors][kLanes], planes `plane` apart.
template <typename Filter>
void points_to_tiles(const Plan& plan, const float* m, int64_t plane, int64_t first, int64_t count,
                     int64_t from, int vectors, float* y) {
  constexpr int kOut = Filter::kOut;
  const int64_t row = plan.width * plan.out;
  for (int64_t t = 0; t < count; ++t) {
    const Tile tile(plan, first + t);
    float* to = y + (tile.sample * plan.height + tile.top) * row + tile.left * plan.out;
    const int rows = plan.height - tile.top < kOut ? int(plan.height - tile.top) : kOut;
    const int columns = plan.width - tile.left < kOut ? int(plan.width - tile.left) : kOut;
    for (int n = 0; n < vectors; ++n, m += kLanes) {
      const int64_t c = from + n * kLanes, left = plan.out - c;
      if (rows == kOut && columns == kOut && left >= kLanes) {
        put_tile<Filter>(m, plane, to + c, row, plan.out);
      } else {
        put_part<Filter>(m, plane, to + c, row, plan.out, rows, columns,
                         left < kLanes ? left : kLanes);
      }
    }
  }
}

}  // namespace fastgan::cpu::FASTGAN_STAMPED
