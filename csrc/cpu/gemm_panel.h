// The matrix product of the convolutions, on packed panels, for a few rows at a time:
//   M[r, n] = sum_k V[k, r] U[k, n]
// V: [K / kLanes][stride of rows][kLanes], U: [K][NV * kLanes], M: [R][NV * kLanes].
// An entry of V is broadcast, U is read in vectors, and R x NV accumulators stay in registers; M
// may lie where V does, because it is stored when all of V has been read. While it computes, it
// asks for memory that a later product reads. Only in a stamped region.
#pragma once

#include "cpu/vector.h"

namespace fastgan::cpu::FASTGAN_STAMPED {

// The most rows for NV vectors of columns: accumulators, one row of U and one entry of V must fit
// into the registers (32 of AVX-512 and NEON, 16 else).
constexpr int max_rows(int nv) {
#if FASTGAN_VECTOR_FLOATS == 16 || defined(__aarch64__)
  return nv == 4 ? 6 : nv == 3 ? 9 : nv == 2 ? 14 : 16;
#else
  return nv == 4 ? 3 : nv == 3 ? 4 : nv == 2 ? 6 : 12;
#endif
}
constexpr int kMostRows = 16;

// Asks for memory some time before it is read, in kStreams equal parts at once: lines of one page
// would come one after the other, and one stream does not fill the memory's bandwidth.
class ReadAhead {
 public:
  static constexpr int kStreams = 8;

  // What one product asks for: `steps` lines of each part for every block of K.
  struct Share {
    const char* at;
    size_t part;
    int steps;
  };

  ReadAhead() = default;
  ReadAhead(const void* from, size_t bytes)
      : at_(static_cast<const char*>(from)),
        part_((bytes / kStreams + 63) / 64 * 64),
        left_(static_cast<int>(part_ / 64)) {}

  // The share of the next of `products` of so many blocks.
  Share take(int products, int blocks) {
    if (left_ == 0) return {at_, part_, 0};
    const int visits = products * blocks, steps = (left_ + visits - 1) / visits;
    const Share share{at_, part_, steps};
    at_ += size_t(64) * steps * blocks;
    left_ = left_ > steps * blocks ? left_ - steps * blocks : 0;
    return share;
  }

 private:
  const char* at_ = nullptr;
  size_t part_ = 0;
  int left_ = 0;  // steps
};

template <typename W>
using PanelProduct = void (*)(int blocks, const float* v, int v_step, const W* u, float* m,
                              ReadAhead::Share next);

// Memory to ask for in step with a product, a little for each vector of U, so that the few slots
// which a core has for lines under way are used all the time and never all at once.
struct Stream {
  const char* at;
  size_t step;  // bytes for each vector of U
};

// How a product asks for it.
enum class Ahead { kNot, kIntoCaches, kOnce };

// Where a product of one column takes the entries of V from. Each of them is used once there, and
// loads take longer than the arithmetic; where a core shuffles beside it, a load of four entries
// and three shuffles do for three loads, of every other four: more shuffles would be in the way.
enum class Entries { kLoaded, kShuffled };

template <int NV, Ahead kAhead, typename W>
inline __attribute__((always_inline)) void load_weights(const W* u, Stream& stream, Vec* row) {
#pragma GCC unroll 4
  for (int n = 0; n < NV; ++n) {
    if constexpr (kAhead == Ahead::kIntoCaches) prefetch(stream.at);
    if constexpr (kAhead == Ahead::kOnce) prefetch_once(stream.at);
    if constexpr (kAhead != Ahead::kNot) stream.at += stream.step;
    row[n] = load(u + n * kLanes);
  }
}

// Adds the products of one block of K.
template <int R, int NV, Ahead kAhead, typename W>
inline __attribute__((always_inline)) void add_block(const float* v, const W* u, Stream& stream,
                                                     Vec (&acc)[R][NV]) {
#pragma GCC unroll 4
  for (int k = 0; k < kLanes; ++k) {
    Vec row[NV];
    load_weights<NV, kAhead>(u + k * NV * kLanes, stream, row);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vec entry = splat(v[r * kLanes + k]);
#pragma GCC unroll 4
      for (int n = 0; n < NV; ++n) acc[r][n] = fma(entry, row[n], acc[r][n]);
    }
  }
}

// The same for one column, with shuffled entries.
template <int R, Ahead kAhead, typename W>
inline __attribute__((always_inline)) void add_block_shuffled(const float* v, const W* u,
                                                              Stream& stream, Vec (&acc)[R][1]) {
#pragma GCC unroll 4
  for (int k = 0; k < kLanes; k += 4) {
    Vec row[4];
    load_weights<4, kAhead>(u + k * kLanes, stream, row);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const float* const four = v + r * kLanes + k;
      Vec entry[4];
      if (k % 8 == 0) {
        const Vec quarter = load_quarter(four);
        entry[0] = lane_of_quarters<0>(quarter), entry[1] = lane_of_quarters<1>(quarter);
        entry[2] = lane_of_quarters<2>(quarter), entry[3] = splat(four[3]);
      } else {
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) entry[i] = splat(four[i]);
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) acc[r][0] = fma(entry[i], row[i], acc[r][0]);
    }
  }
}

template <int R, int NV, bool kAdd, Ahead kAhead, Entries kEntries = Entries::kLoaded, typename W>
inline __attribute__((always_inline)) void compute_panel(int blocks, const float* v, int v_step,
                                                         const W* __restrict u, float* m,
                                                         ReadAhead::Share next, Stream& stream) {
  Vec acc[R][NV];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) acc[r][n] = kAdd ? load(m + (r * NV + n) * kLanes) : splat(0.0f);
  }
  for (int block = 0; block < blocks; ++block, v += v_step, u += kLanes * NV * kLanes) {
    for (int i = 0; i < next.steps; ++i, next.at += 64) {
#pragma GCC unroll 8
      for (int part = 0; part < ReadAhead::kStreams; ++part) prefetch(next.at + part * next.part);
    }
    if constexpr (NV == 1 && kEntries == Entries::kShuffled) {
      add_block_shuffled<R, kAhead>(v, u, stream, acc);
    } else {
      add_block<R, NV, kAhead>(v, u, stream, acc);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) store(m + (r * NV + n) * kLanes, acc[r][n]);
  }
}

template <int R, int NV, bool kAdd, typename W>
void panel_product(int blocks, const float* v, int v_step, const W* u, float* m,
                   ReadAhead::Share next) {
  Stream none{nullptr, 0};
  compute_panel<R, NV, kAdd, Ahead::kNot>(blocks, v, v_step, u, m, next, none);
}

// The products of `count` pairs of matrices, so many entries of V, U and M apart.
struct ProductSteps {
  int count;
  size_t v, u, m;
};
template <typename W>
using PointProducts = void (*)(ProductSteps steps, int blocks, const float* v, int v_step,
                               const W* u, float* m, Stream stream);

template <int R, int NV, Ahead kAhead, Entries kEntries, typename W>
void point_products(ProductSteps steps, int blocks, const float* v, int v_step, const W* u,
                    float* m, Stream stream) {
  for (int p = 0; p < steps.count; ++p, v += steps.v, u += steps.u, m += steps.m) {
    compute_panel<R, NV, false, kAhead, kEntries>(blocks, v, v_step, u, m,
                                                  ReadAhead::Share{nullptr, 0, 0}, stream);
  }
}

// The products for r rows, 1 <= r <= max_rows(NV), at place r.
template <typename W>
struct PanelTable {
  PanelProduct<W> panel[kMostRows + 1] = {};
  PointProducts<W> points[3][kMostRows + 1] = {};  // by Ahead
  PointProducts<W> shuffled[3][kMostRows + 1] = {};
};

template <int NV, Entries kEntries, typename W, int R>
void fill_points(PointProducts<W> (*points)[kMostRows + 1]) {
  points[0][R] = &point_products<R, NV, Ahead::kNot, kEntries, W>;
  points[1][R] = &point_products<R, NV, Ahead::kIntoCaches, kEntries, W>;
  points[2][R] = &point_products<R, NV, Ahead::kOnce, kEntries, W>;
}

template <int NV, bool kAdd, typename W, int R = max_rows(NV)>
void fill_table(PanelTable<W>& table) {
  table.panel[R] = &panel_product<R, NV, kAdd, W>;
  if constexpr (!kAdd) {
    constexpr Entries kShuffled = NV == 1 && kQuarters ? Entries::kShuffled : Entries::kLoaded;
    fill_points<NV, Entries::kLoaded, W, R>(table.points);
    fill_points<NV, kShuffled, W, R>(table.shuffled);
  }
  if constexpr (R > 1) fill_table<NV, kAdd, W, R - 1>(table);
}

template <bool kAdd, typename W>
struct PanelTables {
  PanelTable<W> of[4];  // by NV - 1

  PanelTables() {
    fill_table<1, kAdd>(of[0]);
    fill_table<2, kAdd>(of[1]);
    fill_table<3, kAdd>(of[2]);
    fill_table<4, kAdd>(of[3]);
  }
};

template <bool kAdd, typename W>
const PanelTable<W>& panel_table(int nv) {
  static const PanelTables<kAdd, W> tables;
  return tables.of[nv - 1];
}

// The product for `rows` rows and `nv` vectors of columns, nv in 1..4. kAdd: M += instead of M =.
template <bool kAdd, typename W>
PanelProduct<W> panel_product_of(int nv, int rows) {
  return panel_table<kAdd, W>(nv).panel[rows];
}

template <typename W>
PointProducts<W> point_products_of(int nv, int rows, Ahead ahead, Entries entries) {
  const PanelTable<W>& table = panel_table<false, W>(nv);
  const auto& points = entries == Entries::kShuffled ? table.shuffled : table.points;
  return points[static_cast<int>(ahead)][rows];
}

}  // namespace fastgan::cpu::FASTGAN_STAMPED
