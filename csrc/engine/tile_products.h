// The products of a convolution by minimal filtering: for each point of the transform one matrix
// product, rows of tiles times the weights of the point. Only in a stamped region.
//
// V holds the transformed input, [group][point][panel][input block][rows of a panel][lane]; M the
// products, [group][point][panel][row][columns of a block]; U the weights, [output block][point]
// [input channel][columns of a block], in the order in which they are read.
#pragma once

#include "cpu/gemm_panel.h"
#include "cpu/minimal_filter.h"
#include "engine/arena.h"
#include "engine/layer.h"

namespace fastgan::engine::FASTGAN_STAMPED {

using namespace fastgan::cpu::FASTGAN_STAMPED;

inline int least(int a, int b) { return a < b ? a : b; }

// Weights of a layer that stay in a core's second-level cache from one batch of tiles to the next.
constexpr size_t kNearBytes = size_t(1) << 20;
// Others are asked for so long before a product reads them.
constexpr size_t kAheadBytes = 8192;

// Outputs of this size have left the caches when the next layer reads them, and a plain store would
// read the line first that it overwrites.
constexpr size_t kStreamBytes = size_t(12) << 20;

inline bool leaves_caches(const LayerShape& shape) {
  const size_t channels = size_t(vectors(shape.out_channels, kLanes)) * kLanes;
  return channels * shape.out_height() * shape.out_width() * sizeof(float) > kStreamBytes;
}

// Tile t of all samples, and the next ones, without a division for each.
struct TileCursor {
  int columns, rows;  // of tiles in an image
  int x, y, sample;

  TileCursor(int t, int columns_in, int rows_in)
      : columns(columns_in),
        rows(rows_in),
        x(t % columns_in),
        y(t / columns_in % rows_in),
        sample(t / (columns_in * rows_in)) {}
  // Whether the next tile lies in another row.
  bool next() {
    if (++x < columns) return false;
    x = 0;
    if (++y == rows) y = 0, ++sample;
    return true;
  }
};

// Points whose matrices have the same rows: `rows_per_tile` for each tile of a batch.
struct Group {
  int points, rows_per_tile, panel, panels;
  size_t v_first, v_step, m_first, m_step;  // floats; the steps are from point to point
  const int* row_offset;                    // of each row from v_first, in floats
  const int* m_row_offset;                  // of each row from m_first
};

template <typename W>
class TileProducts {
 public:
  // `points` and `rows_per_tile` of each group.
  template <int G>
  TileProducts(const LayerShape& shape, const Choice& choice, const int (&points)[G],
               const int (&rows_per_tile)[G])
      : blocks_(vectors(shape.in_channels, kLanes)),
        columns_(choice.columns),
        out_blocks_(vectors(shape.out_channels, kLanes) / choice.columns),
        batch_(choice.batch),
        in_place_(choice.split == Split::kRows && out_blocks_ == 1 && columns_ <= blocks_),
        groups_(G) {
    for (int g = 0; g < G; ++g) add(points[g], rows_per_tile[g]);
    weights_ = Buffer<W>(size_t(out_blocks_) * points_ * point_weights());
  }

  int blocks() const { return blocks_; }          // of input channels
  int out_blocks() const { return out_blocks_; }  // of `columns` vectors each
  int batch() const { return batch_; }
  // Whether M takes the place of V, so that a store finds its line in the first-level cache: when V
  // is one thread's own, one product makes all of its output channels, and these are no more than
  // the input channels.
  bool in_place() const { return in_place_; }
  // Whether the products of a tile then lie where its own points did, and no other's.
  bool tile_in_place() const { return in_place_ && columns_ == 1; }
  const Group& group(int g) const { return group_[g]; }
  size_t v_floats() const { return v_floats_; }
  size_t m_floats() const { return m_floats_; }
  size_t weight_bytes() const { return weights_.bytes(); }
  double flops_per_tile() const {
    double rows = 0;
    for (int g = 0; g < groups_; ++g) rows += double(group_[g].points) * group_[g].rows_per_tile;
    return 2 * rows * blocks_ * kLanes * out_blocks_ * columns_ * kLanes;
  }

  // Where a weight lies.
  W& weight(int out, int point, int in) const {
    const int width = columns_ * kLanes;
    return weights_[(size_t(out / width) * points_ + point) * point_weights() + size_t(in) * width +
                    out % width];
  }
  // Where row `row` of a group lies in V, for input block 0 and point 0 of the group.
  size_t v_offset(const Group& g, int row) const { return g.v_first + g.row_offset[row]; }
  // The same in M, for the first of its vectors of columns.
  size_t m_offset(const Group& g, int row) const { return g.m_first + g.m_row_offset[row]; }

  // All products of one block of output channels for `tiles` tiles; `m` is `v` when in place.
  void run(int out_block, int tiles, const float* v, float* m) const {
    const W* u = weights_.get() + size_t(out_block) * points_ * point_weights();
    const Ahead how = weights_.bytes() <= kNearBytes ? Ahead::kNot
                      : far_weights_pass_by()        ? Ahead::kOnce
                                                     : Ahead::kIntoCaches;
    const Entries entries = shuffles_are_free() ? Entries::kShuffled : Entries::kLoaded;
    for (int g = 0; g < groups_; ++g) {
      const Group& group = group_[g];
      const int rows = tiles * group.rows_per_tile, whole = rows / group.panel;
      const int rest = rows % group.panel, panels = whole + (rest > 0);
      const size_t v_step = size_t(group.panel) * blocks_ * kLanes;
      const size_t m_step = size_t(group.panel) * m_width() * kLanes;
      const float* from = v + group.v_first;
      float* to = m + group.m_first;
      const size_t vector_bytes = kLanes * sizeof(W), vectors = size_t(blocks_) * kLanes * columns_;
      if (panels == 1) {
        const Stream ahead{reinterpret_cast<const char*>(u) + kAheadBytes, vector_bytes};
        point_products_of<W>(columns_, rows, how, entries)(
            {group.points, group.v_step, point_weights(), group.m_step}, blocks_, from,
            group.panel * kLanes, u, to, ahead);
        u += group.points * point_weights();
        continue;
      }
      const PointProducts<W> product = point_products_of<W>(columns_, group.panel, how, entries);
      const PointProducts<W> last =
          point_products_of<W>(columns_, rest > 0 ? rest : 1, how, entries);
      const size_t step = (vector_bytes + panels - 1) / panels;
      for (int p = 0; p < group.points; ++p, u += point_weights()) {
        const char* next = reinterpret_cast<const char*>(u + point_weights());
        const float* v_point = from + p * group.v_step;
        float* m_point = to + p * group.m_step;
        product({whole, v_step, 0, m_step}, blocks_, v_point, group.panel * kLanes, u, m_point,
                Stream{next, step});
        if (rest == 0) continue;
        last({1, 0, 0, 0}, blocks_, v_point + whole * v_step, group.panel * kLanes, u,
             m_point + whole * m_step, Stream{next + whole * step * vectors, step});
      }
    }
  }

 private:
  size_t point_weights() const { return size_t(blocks_) * kLanes * columns_ * kLanes; }

  // Vectors from panel to panel of M, for each row of a panel: those of V if M takes its place.
  int m_width() const { return in_place_ ? blocks_ : columns_; }

  void add(int points, int rows_per_tile) {
    const int rows = batch_ * rows_per_tile, most = max_rows(columns_);
    const int panels = (rows + most - 1) / most, panel = (rows + panels - 1) / panels;
    // An odd number of vectors: with a power of two, the same row of all points would lie in one
    // set of the cache.
    const size_t step = (size_t(panels) * blocks_ * panel | 1) * kLanes;
    const size_t m_step = (size_t(panels) * m_width() * panel | 1) * kLanes;
    Buffer<int>& offsets = offsets_[added_] = Buffer<int>(2 * size_t(rows));
    for (int row = 0; row < rows; ++row) {
      const int first = row / panel * panel, rest = row % panel;
      offsets[row] = (first * blocks_ + rest) * kLanes;
      offsets[rows + row] = (first * m_width() + rest * columns_) * kLanes;
    }
    Group& group = group_[added_++];
    group = {points,        rows_per_tile,       panel, panels, v_floats_, step, 0, m_step,
             offsets.get(), offsets.get() + rows};
    group.m_first = in_place_ ? v_floats_ : m_floats_;
    v_floats_ += points * step;
    if (!in_place_) m_floats_ += points * m_step;
    points_ += points;
  }

  int blocks_, columns_, out_blocks_, batch_;
  bool in_place_;
  int groups_;
  int added_ = 0, points_ = 0;
  size_t v_floats_ = 0, m_floats_ = 0;
  Group group_[3];
  Buffer<int> offsets_[3];
  Buffer<W> weights_;
};

inline void set_weight(float& to, double value) { to = static_cast<float>(value); }
inline void set_weight(uint16_t& to, double value) {
  to = static_cast<uint16_t>(fastgan::store<float16>(static_cast<float>(value)));
}

// scale x + bias + noise, leaky ReLU, clamp; all gains are in scale, bias and noise. Functions take
// a copy: what they store might else change it in the eyes of the compiler.
struct Finish {
  Vec slope, clamp;
  bool limited;

  explicit Finish(const Activation& a)
      : slope(splat(a.slope)), clamp(splat(a.clamp)), limited(a.clamp >= 0) {}
  template <bool kLimited>
  inline Vec run(Vec x, Vec scale, Vec bias, float noise) const {
    Vec y = fma(x, scale, bias + splat(noise));
    y = max(y, y * slope);
    return kLimited ? max(min(y, clamp), splat(0.0f) - clamp) : y;
  }
};

// Zeros in everything of the images of `out` but their pixels, so that whoever reads beyond the
// edge reads zero padding. Planes are shared out among the threads.
inline void zero_border(const Call& call, int blocks, int height, int width) {
  const size_t row = call.out.row;
  const int planes = call.samples * blocks;
  for (int i = planes * call.thread / call.threads; i < planes * (call.thread + 1) / call.threads;
       ++i) {
    float* pixel = call.out.at(i / blocks, i % blocks, 0);
    const size_t rows = call.out.plane / row;  // one above, the image, the rest below
    std::memset(pixel - row - kLanes, 0, row * sizeof(float));
    for (int y = 0; y < height; ++y, pixel += row) {
      std::memset(pixel - kLanes, 0, kLanes * sizeof(float));
      float* end = pixel + size_t(width) * kLanes;
      std::memset(end, 0, (row - kLanes - size_t(width) * kLanes) * sizeof(float));
    }
    std::memset(pixel - kLanes, 0, (rows - 1 - height) * row * sizeof(float));
  }
}

}  // namespace fastgan::engine::FASTGAN_STAMPED
