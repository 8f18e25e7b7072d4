// Tiles of conv2d_resample: where their points lie in memory, and the transforms to and from them.
// The transform of a tile is nested: an axis has kPoints even points, for taps 0 and 2, and the odd
// outputs, which need no transform. So there are (kPoints + 1)^2 matrix products, called jobs; the
// index of a job is py (kPoints + 1) + px, where kPoints stands for "odd". Only in a stamped
// region.
#pragma once

#include "cpu/conv2d_resample_kernel.h"
#include "cpu/gemm_panel.h"
#include "cpu/minimal_filter.h"

namespace fastgan::cpu::FASTGAN_STAMPED {

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Vectors of columns that a product computes at once.
static inline int column_vectors(int channels) { return channels / kLanes % 2 ? 1 : 2; }

template <class A>
struct Tile {
  static constexpr int kLow = A::kIn, kHigh = 2 * A::kIn + 1, kSide = A::kPoints + 1;
  static constexpr int kJobs = kSide * kSide, kOdd = A::kPoints;
  static constexpr int kRows = kHigh * kHigh;  // of all jobs together, per tile

  // 0 for a job that is transformed along both axes, 1 along one, 2 along none.
  static constexpr int kind(int job) { return (job / kSide == kOdd) + (job % kSide == kOdd); }
  static constexpr int rows(int kind) { return kind == 2 ? kLow * kLow : kind == 1 ? kLow : 1; }
};

// Where the entries of the jobs lie, for a number of tiles. Inputs of products are either panels
// (see gemm_panel.h) or, for sums over rows, plain matrices [rows][columns].
template <class A>
struct Plan {
  using Shape = Tile<A>;

  int64_t tiles = 0;
  int64_t input[Shape::kJobs], product[Shape::kJobs];  // offsets; of products, in rows
  int64_t inputs = 0;                                  // floats of all inputs
  int panel[3];                                        // rows of a panel, by kind
  int64_t step[3];                                     // from one vector of channels to the next
  int32_t* at[3];                                      // offset of a row

  static int64_t table_size(int64_t tiles) { return tiles * (1 + A::kIn + A::kIn * A::kIn); }
  // An upper bound of `inputs`; the last panel of a job may be short.
  static int64_t input_size(int64_t tiles, int64_t channels) {
    return (tiles * Shape::kRows + Shape::kJobs * kMostRows) * channels + Shape::kJobs * 64;
  }

  void build(int64_t count, int channels, int limit, int32_t* table) {
    tiles = count;
    for (int kind = 0; kind < 3; ++kind) {
      const int64_t rows = tiles * Shape::rows(kind);
      const int64_t panels = limit ? divide_up(rows, limit) : 1;
      panel[kind] = static_cast<int>(limit ? divide_up(rows, panels) : 1);
      step[kind] = limit ? panel[kind] * kLanes : kLanes;
      at[kind] = table;
      for (int64_t row = 0, done = 0; done < rows; ++row) {
        const int64_t first = limit ? row * panel[kind] * channels : row * channels;
        for (int i = 0; i < panel[kind] && done < rows; ++i, ++done) {
          *table++ = static_cast<int32_t>(first + i * kLanes);
        }
      }
    }
    int64_t rows_before = 0;
    inputs = 0;
    for (int job = 0; job < Shape::kJobs; ++job) {
      const int kind = Shape::kind(job);
      const int64_t rows = tiles * Shape::rows(kind);
      input[job] = inputs;
      product[job] = rows_before;
      // 64 floats apart, so that jobs do not compete for the same lines of a cache.
      inputs += divide_up(rows, panel[kind]) * panel[kind] * channels + 64;
      rows_before += rows;
    }
  }
};

// Writes one vector of channels of a tile's points.
template <class A>
struct Points {
  const Plan<A>& plan;
  float* to;
  int64_t tile;
  int block;  // of kLanes channels

  inline __attribute__((always_inline)) void put(int job, int row, Vec value) const {
    constexpr int kEvery[3] = {Tile<A>::rows(0), Tile<A>::rows(1), Tile<A>::rows(2)};
    const int kind = Tile<A>::kind(job);
    const int64_t offset = plan.at[kind][tile * kEvery[kind] + row] + block * plan.step[kind];
    store(to + plan.input[job] + offset, value);
  }
};

// Low pixels of a tile, x[row][column], to points.
template <class A>
inline void low_to_points(const Vec (*x)[A::kIn], const Points<A>& points) {
  using T = Tile<A>;
  Vec even[A::kPoints][A::kIn], p[A::kPoints];
  FASTGAN_UNROLL for (int j = 0; j < A::kIn; ++j) {
    Vec column[A::kIn];
    FASTGAN_UNROLL for (int i = 0; i < A::kIn; ++i) column[i] = x[i][j];
    A::data(column, p);
    FASTGAN_UNROLL for (int i = 0; i < A::kPoints; ++i) even[i][j] = p[i];
  }
  FASTGAN_UNROLL for (int i = 0; i < A::kPoints; ++i) {
    A::data(even[i], p);
    FASTGAN_UNROLL for (int j = 0; j < A::kPoints; ++j) points.put(i * T::kSide + j, 0, p[j]);
    FASTGAN_UNROLL for (int j = 0; j < A::kIn; ++j) {
      points.put(i * T::kSide + T::kOdd, j, even[i][j]);
    }
  }
  FASTGAN_UNROLL for (int i = 0; i < A::kIn; ++i) {
    A::data(x[i], p);
    FASTGAN_UNROLL for (int j = 0; j < A::kPoints; ++j) {
      points.put(T::kOdd * T::kSide + j, i, p[j]);
    }
    FASTGAN_UNROLL for (int j = 0; j < A::kIn; ++j) {
      points.put(T::kJobs - 1, i * A::kIn + j, x[i][j]);
    }
  }
}

// The pixels s[row][column] of S that belong to a tile, to points.
template <class A>
inline void high_to_points(const float* s, int64_t row, int64_t column, const Points<A>& points) {
  using T = Tile<A>;
  Vec even[A::kPoints][T::kHigh], p[A::kPoints], e[A::kIn + 1];
  FASTGAN_UNROLL for (int j = 0; j < T::kHigh; ++j) {
    FASTGAN_UNROLL for (int i = 0; i <= A::kIn; ++i) e[i] = load(s + 2 * i * row + j * column);
    A::out_adjoint(e, p);
    FASTGAN_UNROLL for (int i = 0; i < A::kPoints; ++i) even[i][j] = p[i];
  }
  FASTGAN_UNROLL for (int i = 0; i < A::kPoints; ++i) {
    FASTGAN_UNROLL for (int j = 0; j <= A::kIn; ++j) e[j] = even[i][2 * j];
    A::out_adjoint(e, p);
    FASTGAN_UNROLL for (int j = 0; j < A::kPoints; ++j) points.put(i * T::kSide + j, 0, p[j]);
    FASTGAN_UNROLL for (int j = 0; j < A::kIn; ++j) {
      points.put(i * T::kSide + T::kOdd, j, even[i][2 * j + 1]);
    }
  }
  FASTGAN_UNROLL for (int i = 0; i < A::kIn; ++i) {
    const float* odd = s + (2 * i + 1) * row;
    FASTGAN_UNROLL for (int j = 0; j <= A::kIn; ++j) e[j] = load(odd + 2 * j * column);
    A::out_adjoint(e, p);
    FASTGAN_UNROLL for (int j = 0; j < A::kPoints; ++j) {
      points.put(T::kOdd * T::kSide + j, i, p[j]);
    }
    FASTGAN_UNROLL for (int j = 0; j < A::kIn; ++j) {
      points.put(T::kJobs - 1, i * A::kIn + j, load(odd + (2 * j + 1) * column));
    }
  }
}

// Reads one vector of columns of a tile's products.
template <class A>
struct Products {
  const Plan<A>& plan;
  const float* from;
  int64_t tile;
  int64_t columns;

  inline __attribute__((always_inline)) Vec get(int job, int row) const {
    constexpr int kEvery[3] = {Tile<A>::rows(0), Tile<A>::rows(1), Tile<A>::rows(2)};
    const int64_t first = tile * kEvery[Tile<A>::kind(job)];
    return load(from + (plan.product[job] + first + row) * columns);
  }
};

// Products of a tile to its pixels of T, t[row][column]; add: to what is there, in the first row or
// the first column, which a tile above or on the left has written.
template <class A>
inline void products_to_high(const Products<A>& m, float* t, int64_t row, int64_t column,
                             bool add_row, bool add_column) {
  using T = Tile<A>;
  Vec even[A::kPoints][T::kHigh], p[A::kPoints], e[A::kIn + 1];
  FASTGAN_UNROLL for (int i = 0; i < A::kPoints; ++i) {
    FASTGAN_UNROLL for (int j = 0; j < A::kPoints; ++j) p[j] = m.get(i * T::kSide + j, 0);
    A::out(p, e);
    FASTGAN_UNROLL for (int j = 0; j <= A::kIn; ++j) even[i][2 * j] = e[j];
    FASTGAN_UNROLL for (int j = 0; j < A::kIn; ++j) {
      even[i][2 * j + 1] = m.get(i * T::kSide + T::kOdd, j);
    }
  }
  FASTGAN_UNROLL for (int j = 0; j < T::kHigh; ++j) {
    FASTGAN_UNROLL for (int i = 0; i < A::kPoints; ++i) p[i] = even[i][j];
    A::out(p, e);
    float* to = t + j * column;
    if (add_row || (j == 0 && add_column)) e[0] = e[0] + load(to);
    store(to, e[0]);
    FASTGAN_UNROLL for (int i = 1; i <= A::kIn; ++i) {
      if (j == 0 && add_column) e[i] = e[i] + load(to + 2 * i * row);
      store(to + 2 * i * row, e[i]);
    }
  }
  FASTGAN_UNROLL for (int i = 0; i < A::kIn; ++i) {
    float* to = t + (2 * i + 1) * row;
    FASTGAN_UNROLL for (int j = 0; j < A::kPoints; ++j) p[j] = m.get(T::kOdd * T::kSide + j, i);
    A::out(p, e);
    if (add_column) e[0] = e[0] + load(to);
    FASTGAN_UNROLL for (int j = 0; j <= A::kIn; ++j) store(to + 2 * j * column, e[j]);
    FASTGAN_UNROLL for (int j = 0; j < A::kIn; ++j) {
      store(to + (2 * j + 1) * column, m.get(T::kJobs - 1, i * A::kIn + j));
    }
  }
}

// Products of a tile to its low pixels.
template <class A>
inline void products_to_low(const Products<A>& m, Vec (*x)[A::kIn]) {
  using T = Tile<A>;
  Vec even[A::kPoints][A::kIn], p[A::kPoints], e[A::kIn];
  FASTGAN_UNROLL for (int i = 0; i < A::kPoints; ++i) {
    FASTGAN_UNROLL for (int j = 0; j < A::kPoints; ++j) p[j] = m.get(i * T::kSide + j, 0);
    A::data_adjoint(p, e);
    FASTGAN_UNROLL for (int j = 0; j < A::kIn; ++j) {
      even[i][j] = e[j] + m.get(i * T::kSide + T::kOdd, j);
    }
  }
  FASTGAN_UNROLL for (int j = 0; j < A::kIn; ++j) {
    FASTGAN_UNROLL for (int i = 0; i < A::kPoints; ++i) p[i] = even[i][j];
    A::data_adjoint(p, e);
    FASTGAN_UNROLL for (int i = 0; i < A::kIn; ++i) x[i][j] = e[i];
  }
  FASTGAN_UNROLL for (int i = 0; i < A::kIn; ++i) {
    FASTGAN_UNROLL for (int j = 0; j < A::kPoints; ++j) p[j] = m.get(T::kOdd * T::kSide + j, i);
    A::data_adjoint(p, e);
    FASTGAN_UNROLL for (int j = 0; j < A::kIn; ++j) {
      x[i][j] = x[i][j] + (e[j] + m.get(T::kJobs - 1, i * A::kIn + j));
    }
  }
}

}  // namespace fastgan::cpu::FASTGAN_STAMPED
