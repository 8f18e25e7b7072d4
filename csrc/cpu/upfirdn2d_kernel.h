// upfirdn2d on rows, torch-free. An output row is a weighted sum of input rows, then of shifted
// columns. Polyphase: inserted zeros are never read. See upfirdn2d_plan.h for how the numbers in
// Params come about.
//
// Each thread owns whole output rows and sums in a fixed order, so results do not depend on the
// number of threads.
#pragma once

#include <cstdint>
#include <utility>

#include "common/dtype.h"
#include "cpu/isa.h"

#if defined(__clang__)
#define FASTGAN_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define FASTGAN_IVDEP _Pragma("GCC ivdep")
#endif

namespace fastgan::cpu::upfirdn2d {

// Outputs q, q + period, q + 2 period, ... of one axis see the same taps.
struct Phase {
  int64_t start;  // input index under the first tap of output q, counted from Axis::first
  int64_t taps;   // how many taps meet an input sample
  int64_t at;     // where the phase starts in the packed weights of its axis
};

struct Axis {
  int64_t in, out;
  int64_t first;       // input index under the first tap of output 0; negative inside the padding
  int64_t padded;      // input positions that the outputs see, padding included
  int64_t begin, end;  // input positions that they see inside the image
  int64_t period;      // number of phases
  int64_t step;        // input step between outputs of one phase
  int64_t weights;     // sum of taps over the phases
  const Phase* phases;
};

template <typename Acc>
struct Params {
  Axis x, y;
  int64_t inner;                    // 1 (rows of pixels) or C (rows of channel vectors)
  int64_t planes;                   // planes of one image: C, or 1 when channels are innermost
  int64_t x_image, x_plane, x_row;  // strides of the input
  int64_t line;                     // elements of one padded input line
  int64_t stream;                   // elements of each of x.step streams of a line, 0: not split
  int64_t ring;                     // lines kept; 1 when the filter separates
  bool separable;
  const Acc* rows;       // separable: weights of the vertical pass, phase after phase
  const Acc* columns;    // of the horizontal pass; not separable: of both, see Plan
  const int64_t* reads;  // position in the line of each tap of each horizontal phase
};

// What one thread needs beside its rows of x and y.
template <typename T>
struct Workspace {
  using Acc = acc_t<T>;
  Acc* lines;           // [ring] lines as the horizontal pass reads them, zero in the padding
  Acc* staging;         // one line before it is split into streams, zero in the padding
  Acc* phases;          // one output row, phase after phase
  int64_t* tags;        // [ring] which input row each line holds, -1 for none
  const T** inputs;     // [largest number of vertical taps]
  const Acc** sources;  // [largest number of taps of an output]
};

// `count` runs of `length` elements, in elements of the source and of the destination.
struct Runs {
  int64_t count, length, source_step, target_step;
};

constexpr int64_t kBlock = 256;   // elements summed at a time where a sum needs a buffer
constexpr int64_t kUnrolled = 8;  // taps that one loop sums

// target[i] = sum_j weights[j] * sources[j][i] (+ target[i]), over all runs.
template <bool kAdd, typename In, typename Out, typename Acc, size_t... J>
FASTGAN_INLINE void sum_unrolled(const In* const* sources, const Acc* weights, Out* target,
                                 const Runs& runs, std::index_sequence<J...>) {
  const In* from[] = {sources[J]...};
  const Acc w[] = {weights[J]...};
  for (int64_t r = 0; r < runs.count; ++r) {
    FASTGAN_IVDEP
    for (int64_t i = 0; i < runs.length; ++i) {
      if constexpr (kAdd) {
        target[i] = (target[i] + ... + (w[J] * load(from[J][i])));
      } else {
        target[i] = store<Out>((... + (w[J] * load(from[J][i]))));
      }
    }
    ((from[J] += runs.source_step), ...);
    target += runs.target_step;
  }
}

// More taps than one loop holds: sum them in groups into a block on the stack.
template <typename In, typename Out, typename Acc>
FASTGAN_INLINE void sum_blocked(const In* const* sources, const Acc* weights, int64_t taps,
                                Out* target, const Runs& runs) {
  Acc sum[kBlock];
  const In* from[kUnrolled];
  for (int64_t r = 0; r < runs.count; ++r) {
    for (int64_t at = 0; at < runs.length; at += kBlock) {
      const int64_t left = runs.length - at;
      const Runs block{1, left < kBlock ? left : kBlock, 0, 0};
      const int64_t offset = r * runs.source_step + at;
      int64_t j = 0;
      for (; j + kUnrolled <= taps; j += kUnrolled) {
        for (int64_t k = 0; k < kUnrolled; ++k) from[k] = sources[j + k] + offset;
        constexpr auto kGroup = std::make_index_sequence<kUnrolled>{};
        if (j == 0) {
          sum_unrolled<false>(from, weights, sum, block, kGroup);
        } else {
          sum_unrolled<true>(from, weights + j, sum, block, kGroup);
        }
      }
      for (; j < taps; ++j) {
        from[0] = sources[j] + offset;
        sum_unrolled<true>(from, weights + j, sum, block, std::make_index_sequence<1>{});
      }
      Out* to = target + r * runs.target_step + at;
      FASTGAN_IVDEP
      for (int64_t i = 0; i < block.length; ++i) to[i] = store<Out>(sum[i]);
    }
  }
}

template <typename In, typename Out, typename Acc>
FASTGAN_INLINE void weighted_sum(const In* const* sources, const Acc* weights, int64_t taps,
                                 Out* target, const Runs& runs) {
#define FASTGAN_TAPS(n) \
  case n:               \
    return sum_unrolled<false>(sources, weights, target, runs, std::make_index_sequence<n>{});
  switch (taps) {
    case 0:
      for (int64_t r = 0; r < runs.count; ++r) {
        for (int64_t i = 0; i < runs.length; ++i) {
          target[r * runs.target_step + i] = store<Out>(Acc(0));
        }
      }
      return;
      FASTGAN_TAPS(1)
      FASTGAN_TAPS(2)
      FASTGAN_TAPS(3)
      FASTGAN_TAPS(4)
      FASTGAN_TAPS(5)
      FASTGAN_TAPS(6)
      FASTGAN_TAPS(7)
      FASTGAN_TAPS(8)
    default:
      return sum_blocked(sources, weights, taps, target, runs);
  }
#undef FASTGAN_TAPS
}

// Splits a line into `step` streams (positions s, s + step, ...), so that decimating reads become
// unit-stride reads.
template <typename Acc>
FASTGAN_INLINE void split_streams(const Acc* __restrict line, Acc* __restrict streams,
                                  int64_t stream, int64_t step) {
  if (step == 2) {
    Acc* __restrict odd = streams + stream;
    FASTGAN_IVDEP
    for (int64_t i = 0; i < stream; ++i) {
      streams[i] = line[2 * i];
      odd[i] = line[2 * i + 1];
    }
    return;
  }
  for (int64_t s = 0; s < step; ++s) {
    for (int64_t i = 0; i < stream; ++i) streams[s * stream + i] = line[i * step + s];
  }
}

// Puts the phases of a row, `pitch` apart, side by side: out[m * period + q] = phases[q][m].
template <typename T, typename Acc>
FASTGAN_INLINE void merge_phases(const Acc* __restrict phases, int64_t pitch, int64_t period,
                                 T* __restrict out, int64_t size) {
  const int64_t whole = size / period;
  if (period == 2) {
    const Acc* __restrict odd = phases + pitch;
    FASTGAN_IVDEP
    for (int64_t m = 0; m < whole; ++m) {
      out[2 * m] = store<T>(phases[m]);
      out[2 * m + 1] = store<T>(odd[m]);
    }
  } else {
    for (int64_t q = 0; q < period; ++q) {
      for (int64_t m = 0; m < whole; ++m) out[m * period + q] = store<T>(phases[q * pitch + m]);
    }
  }
  for (int64_t q = 0; q < size - whole * period; ++q) {
    out[whole * period + q] = store<T>(phases[q * pitch + whole]);
  }
}

template <typename T>
struct RowsKernel {
  using Acc = acc_t<T>;
  using P = Params<Acc>;
  using W = Workspace<T>;

  // The part of the vertical taps of an output row that meets the image.
  struct Taps {
    int64_t row;       // input row under the first of them
    int64_t from, to;  // of `height` taps
    int64_t height;
  };

  // Output rows [begin, end), counted over all planes.
  FASTGAN_INLINE static void run(const P* params, const W* workspace, const T* x, T* y,
                                 int64_t begin, int64_t end) {
    const P& p = *params;
    const W& w = *workspace;
    const int64_t row_size = p.x.out * p.inner;
    for (int64_t row = begin; row < end; ++row) {
      const int64_t plane = row / p.y.out;
      const int64_t oy = row - plane * p.y.out;
      const T* image = x + plane / p.planes * p.x_image + plane % p.planes * p.x_plane;
      const Phase& phase = p.y.phases[oy % p.y.period];
      const int64_t top = p.y.first + phase.start + oy / p.y.period * p.y.step;
      const int64_t from = top < 0 ? -top : 0;
      const int64_t to = top + phase.taps > p.y.in ? p.y.in - top : phase.taps;
      const Taps taps{top + from, from, to, phase.taps};
      T* out = y + row * row_size;
      if (to <= from || p.x.end <= p.x.begin) {
        for (int64_t i = 0; i < row_size; ++i) out[i] = store<T>(Acc(0));
      } else if (p.separable) {
        sum_lines(p, w, image + taps.row * p.x_row, p.rows + phase.at + from, to - from);
        columns(p, w, p.columns, Taps{0, 0, 1, 1}, out);
      } else {
        for (int64_t iy = taps.row; iy < top + to; ++iy) read_line(p, w, image, plane, iy);
        columns(p, w, p.columns + phase.at * p.x.weights, taps, out);
      }
    }
  }

 private:
  // Vertical pass: the weighted sum of `count` input rows becomes the one line.
  FASTGAN_INLINE static void sum_lines(const P& p, const W& w, const T* rows, const Acc* weights,
                                       int64_t count) {
    Acc* line = p.stream > 0 ? w.staging : w.lines;
    for (int64_t j = 0; j < count; ++j) w.inputs[j] = rows + j * p.x_row + p.x.begin * p.inner;
    const Runs runs{1, (p.x.end - p.x.begin) * p.inner, 0, 0};
    weighted_sum(w.inputs, weights, count, line + (p.x.begin - p.x.first) * p.inner, runs);
    if (p.stream > 0) split_streams(line, w.lines, p.stream, p.x.step);
  }

  // Puts input row `iy` into its line of the ring, unless an earlier output row did.
  FASTGAN_INLINE static void read_line(const P& p, const W& w, const T* image, int64_t plane,
                                       int64_t iy) {
    const int64_t slot = iy % p.ring;
    const int64_t tag = plane * p.y.in + iy;
    if (w.tags[slot] == tag) return;
    w.tags[slot] = tag;
    Acc* lines = w.lines + slot * p.line;
    Acc* line = p.stream > 0 ? w.staging : lines;
    Acc* target = line + (p.x.begin - p.x.first) * p.inner;
    const T* row = image + iy * p.x_row + p.x.begin * p.inner;
    const int64_t size = (p.x.end - p.x.begin) * p.inner;
    FASTGAN_IVDEP
    for (int64_t i = 0; i < size; ++i) target[i] = load(row[i]);
    if (p.stream > 0) split_streams(line, lines, p.stream, p.x.step);
  }

  // Horizontal pass over the lines of `taps` (one line when the filter separates).
  FASTGAN_INLINE static void columns(const P& p, const W& w, const Acc* weights, const Taps& taps,
                                     T* out) {
    const int64_t lines = taps.to - taps.from;
    const int64_t pitch = (p.x.out + p.x.period - 1) / p.x.period;
    const bool merge = p.inner == 1 && p.x.period > 1;
    for (int64_t q = 0; q < p.x.period && q < p.x.out; ++q) {
      const Phase& phase = p.x.phases[q];
      for (int64_t r = 0; r < lines; ++r) {
        const Acc* line = w.lines + (taps.row + r) % p.ring * p.line;
        for (int64_t j = 0; j < phase.taps; ++j) {
          w.sources[r * phase.taps + j] = line + p.reads[phase.at + j];
        }
      }
      const Acc* at = weights + taps.height * phase.at + taps.from * phase.taps;
      const int64_t count = (p.x.out - q + p.x.period - 1) / p.x.period;
      const int64_t sources = lines * phase.taps;
      if (merge) {
        weighted_sum(w.sources, at, sources, w.phases + q * pitch, Runs{1, count, 0, 0});
      } else {
        weighted_sum(w.sources, at, sources, out + q * p.inner, runs_of(p, count));
      }
    }
    if (merge) merge_phases(w.phases, pitch, p.x.period, out, p.x.out);
  }

  // Outputs of one phase: one run where they are neighbours in memory and so are their taps.
  FASTGAN_INLINE static Runs runs_of(const P& p, int64_t count) {
    if (p.inner == 1 || (p.x.period == 1 && p.x.step == 1)) return {1, count * p.inner, 0, 0};
    return {count, p.inner, p.x.step * p.inner, p.x.period * p.inner};
  }
};

}  // namespace fastgan::cpu::upfirdn2d
