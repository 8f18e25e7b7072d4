// How spectral_norm sees a weight as a matrix, and how it cuts the matrix into tiles for threads.
// By shape alone, never by the number of threads: that is what makes the sums reproducible.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/tensor.h"

namespace fastgan::cpu::spectral_norm {

constexpr int64_t kParallelElements = 1 << 15;  // below this, threads cost more than they save
constexpr int64_t kTileCols = 4096;
constexpr int64_t kTileRows = 64;
constexpr int64_t kTileOuter = 16;
constexpr int64_t kMaxBlocks = 32;  // bounds the memory and the time of adding partial sums
constexpr int64_t kPeriod = 256;    // shortest loop of the interleaved kernels

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The dense weight as [outer][rows][inner] in memory order, whatever its order of dimensions:
// everything that steps slower than `dim`, `dim`, everything that steps faster.
struct Matrix {
  int64_t outer, rows, inner;
  int64_t cols() const { return outer * inner; }
  int64_t size() const { return rows * inner; }  // of one outer position
};

inline int64_t columns_of(const Tensor& weight, int64_t dim) {
  int64_t cols = 1;
  for (int64_t d = 0; d < weight.dim(); ++d) cols *= d == dim ? 1 : weight.size(d);
  return cols;
}

inline Matrix matrix_of(const Tensor& weight, int64_t dim) {
  const int64_t rows = weight.size(dim), cols = columns_of(weight, dim);
  if (rows <= 1 || cols == 0) return {1, rows, cols};
  return {cols / weight.stride(dim), rows, weight.stride(dim)};
}

// Position in memory order of each column of the matrix in logical order; empty when they agree.
inline std::vector<int64_t> column_positions(const Tensor& weight, int64_t dim,
                                             const Matrix& matrix) {
  if (weight.is_contiguous() || weight.numel() == 0) return {};
  std::vector<int64_t> positions{0};
  for (int64_t d = 0; d < weight.dim(); ++d) {
    if (d == dim || weight.size(d) == 1) continue;
    const bool outside = weight.stride(d) >= matrix.size();
    const int64_t step = outside ? weight.stride(d) / matrix.rows : weight.stride(d);
    std::vector<int64_t> next;
    next.reserve(positions.size() * weight.size(d));
    for (const int64_t position : positions) {
      for (int64_t i = 0; i < weight.size(d); ++i) next.push_back(position + i * step);
    }
    positions.swap(next);
  }
  return positions;
}

// Runs body(begin, end) over ranges of tiles that hold `elements` numbers together.
template <typename Body>
void for_tiles(int64_t tiles, int64_t elements, const Body& body) {
  const int64_t per_tile = std::max<int64_t>(1, elements / std::max<int64_t>(1, tiles));
  const int64_t grain = ceil_div(kParallelElements, per_tile);
  torch::stable::parallel_for(0, tiles, grain, body);
}

// How a matrix is cut: by rows and columns for outer = 1, by outer positions otherwise.
struct Tiling {
  explicit Tiling(const Matrix& m) : matrix(m), interleaved(m.outer > 1) {
    const int64_t length = interleaved ? m.outer : m.rows;
    block = std::max(interleaved ? kTileOuter : kTileRows, ceil_div(length, kMaxBlocks));
    blocks = std::max<int64_t>(1, ceil_div(length, block));
    panels = interleaved ? 1 : std::max<int64_t>(1, ceil_div(m.cols(), kTileCols));
    panel = ceil_div(ceil_div(m.cols(), panels), 512) * 512;  // whole steps of the dot product
    period = m.inner * ceil_div(kPeriod, std::max<int64_t>(1, m.inner));
  }

  int64_t tiles() const { return blocks * panels; }
  int64_t elements() const { return matrix.outer * matrix.size(); }

  // Tile t covers positions [first, last) of the rows (or of outer) and columns [left, right).
  struct Tile {
    int64_t index, first, last, left, right;
  };
  Tile tile(int64_t t) const {
    const int64_t index = t / panels, column = t % panels;
    const int64_t length = interleaved ? matrix.outer : matrix.rows;
    return {index, index * block, std::min(length, (index + 1) * block),
            std::min(matrix.cols(), column * panel), std::min(matrix.cols(), (column + 1) * panel)};
  }

  Matrix matrix;
  bool interleaved;
  int64_t block, blocks, panel, panels, period;
};

}  // namespace fastgan::cpu::spectral_norm
