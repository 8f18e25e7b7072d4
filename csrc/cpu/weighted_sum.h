// Weighted sums of shifted rows: the one inner loop of FIR filters, in any memory layout.
// No torch in here. Taps are added in order, so a result does not depend on threads or blocking.
#pragma once

#include <cstdint>
#include <utility>

#include "cpu/isa.h"

// The loop that follows writes memory that it does not read.
#if defined(__clang__)
#define FASTGAN_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define FASTGAN_IVDEP _Pragma("GCC ivdep")
#endif

namespace fastgan::cpu {

// Where a weighted sum is taken: `rows` rows of `count` runs of `length` neighbours. Steps are in
// elements, of all sources alike and of the target.
struct Runs {
  int64_t rows, source_row, target_row;
  int64_t count, source_step, target_step;
  int64_t length;
  int64_t ahead;  // how far beyond a run to ask for memory, 0: not at all
};

// target[i] = sum_j weights[j] * sources[j][i] at every position of the runs, for A in float,
// double. The target overlaps no source.
template <typename A>
struct WeightedSum {
  static constexpr int64_t kGroup = 8;    // taps that one loop adds
  static constexpr int64_t kBlock = 512;  // elements that stay in cache between groups

  FASTGAN_INLINE static void run(const A* const* sources, const A* weights, int64_t taps, A* target,
                                 const Runs* runs) {
    switch (taps) {
      case 0:
        return zero(target, *runs);
      case 1:
        return unrolled(sources, weights, target, *runs, std::make_index_sequence<1>{});
      case 2:
        return unrolled(sources, weights, target, *runs, std::make_index_sequence<2>{});
      case 3:
        return unrolled(sources, weights, target, *runs, std::make_index_sequence<3>{});
      case 4:
        return unrolled(sources, weights, target, *runs, std::make_index_sequence<4>{});
      case 5:
        return unrolled(sources, weights, target, *runs, std::make_index_sequence<5>{});
      case 6:
        return unrolled(sources, weights, target, *runs, std::make_index_sequence<6>{});
      case 7:
        return unrolled(sources, weights, target, *runs, std::make_index_sequence<7>{});
      case 8:
        return unrolled(sources, weights, target, *runs, std::make_index_sequence<8>{});
      default:
        return grouped(sources, weights, taps, target, *runs);
    }
  }

 private:
  FASTGAN_INLINE static void zero(A* target, const Runs& runs) {
    for (int64_t r = 0; r < runs.rows; ++r) {
      for (int64_t m = 0; m < runs.count; ++m) {
        A* to = target + r * runs.target_row + m * runs.target_step;
        for (int64_t i = 0; i < runs.length; ++i) to[i] = A(0);
      }
    }
  }

  template <size_t... J>
  FASTGAN_INLINE static void unrolled(const A* const* sources, const A* weights, A* target,
                                      const Runs& runs, std::index_sequence<J...>) {
    const A w[] = {weights[J]...};
    for (int64_t r = 0; r < runs.rows; ++r) {
      for (int64_t m = 0; m < runs.count; ++m) {
        const int64_t offset = r * runs.source_row + m * runs.source_step;
        const A* const from[] = {sources[J] + offset...};
        A* const to = target + r * runs.target_row + m * runs.target_step;
        if (runs.ahead > 0) prefetch(from[sizeof...(J) - 1] + runs.ahead, runs.source_row);
        FASTGAN_IVDEP
        for (int64_t i = 0; i < runs.length; ++i) to[i] = (... + (w[J] * from[J][i]));
      }
    }
  }

  FASTGAN_INLINE static void prefetch(const A* from, int64_t size) {
    for (int64_t i = 0; i < size; i += 64 / sizeof(A)) __builtin_prefetch(from + i);
  }

  // More taps than one loop holds: groups of them, block by block.
  FASTGAN_INLINE static void grouped(const A* const* sources, const A* weights, int64_t taps,
                                     A* target, const Runs& runs) {
    for (int64_t r = 0; r < runs.rows; ++r) {
      for (int64_t m = 0; m < runs.count; ++m) {
        const int64_t offset = r * runs.source_row + m * runs.source_step;
        A* const to = target + r * runs.target_row + m * runs.target_step;
        for (int64_t i = 0; i < runs.length; i += kBlock) {
          const int64_t size = runs.length - i < kBlock ? runs.length - i : kBlock;
          block(sources, weights, taps, offset + i, to + i, size);
        }
      }
    }
  }

  FASTGAN_INLINE static void block(const A* const* sources, const A* weights, int64_t taps,
                                   int64_t offset, A* to, int64_t size) {
    const int64_t rest = taps % kGroup;
    for (int64_t j = 0; j + kGroup <= taps; j += kGroup) {
      add(sources + j, weights + j, offset, to, size, j > 0, std::make_index_sequence<kGroup>{});
    }
    int64_t j = taps - rest;
    if (rest >= 4) {
      add(sources + j, weights + j, offset, to, size, true, std::make_index_sequence<4>{});
      j += 4;
    }
    for (; j < taps; ++j) {
      add(sources + j, weights + j, offset, to, size, true, std::make_index_sequence<1>{});
    }
  }

  template <size_t... J>
  FASTGAN_INLINE static void add(const A* const* sources, const A* weights, int64_t offset, A* to,
                                 int64_t size, bool more, std::index_sequence<J...>) {
    const A w[] = {weights[J]...};
    const A* const from[] = {sources[J] + offset...};
    if (more) {
      FASTGAN_IVDEP
      for (int64_t i = 0; i < size; ++i) to[i] = (to[i] + ... + (w[J] * from[J][i]));
    } else {
      FASTGAN_IVDEP
      for (int64_t i = 0; i < size; ++i) to[i] = (... + (w[J] * from[J][i]));
    }
  }
};

}  // namespace fastgan::cpu
