// The numbers of an upfirdn2d call and its inner loops beside the weighted sum, torch-free.
// upfirdn2d_plan.h computes the numbers, upfirdn2d_blocks.h puts the loops together.
#pragma once

#include <cstdint>

#include "common/dtype.h"
#include "cpu/isa.h"
#include "cpu/weighted_sum.h"

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

template <typename A>
struct Params {
  Axis x, y;
  int64_t inner;                    // 1 (rows of pixels) or C (rows of channel vectors)
  int64_t planes;                   // planes of one image: C, or 1 when channels are innermost
  int64_t x_image, x_plane, x_row;  // strides of the input
  int64_t block;                    // output rows computed together
  int64_t block_lines;              // padded lines that they need
  int64_t line;                     // elements of one padded line
  int64_t stream;  // elements of each of the x.step streams of a line; 0: lines stay whole
  bool separable;
  bool streams;          // whether merged rows go around the caches
  bool halves;           // separable, rows of pixels, and every second one of 4 taps is kept
  const A* rows;         // separable: weights of the vertical pass, phase after phase
  const A* columns;      // of the horizontal pass; not separable: of both, see Plan
  const int64_t* reads;  // where the lines hold the first output of each tap of each phase
};

// What one thread needs beside x and y.
template <typename A>
struct Workspace {
  A* lines;           // [block_lines] padded lines; their padding is zero and stays so
  A* streams;         // the lines split by column modulo x.step
  A* inputs;          // [block rows of input] converted from a half type
  A* merged;          // [block] output rows on their way around the caches
  A* outputs;         // [block] output rows, phase after phase or not converted yet
  const A** sources;  // [largest number of taps of an output]
};

// to[i] = from[i] over rows, converted between storage and compute type.
template <typename From, typename To>
struct CopyRows {
  FASTGAN_INLINE static void run(const From* from, int64_t from_row, To* to, int64_t to_row,
                                 int64_t rows, int64_t length) {
    for (int64_t r = 0; r < rows; ++r) {
      const From* const source = from + r * from_row;
      To* const target = to + r * to_row;
      FASTGAN_IVDEP
      for (int64_t i = 0; i < length; ++i) target[i] = store<To>(load(source[i]));
    }
  }
};

// streams[s * pitch + i] = lines[i * step + s]: decimating reads become unit-stride reads.
template <typename A>
struct SplitStreams {
  FASTGAN_INLINE static void run(const A* lines, A* streams, int64_t pitch, int64_t step,
                                 int64_t size) {
    if (step == 2) {
      A* const odd = streams + pitch;
      FASTGAN_IVDEP
      for (int64_t i = 0; i < size; ++i) {
        streams[i] = lines[2 * i];
        odd[i] = lines[2 * i + 1];
      }
      return;
    }
    for (int64_t s = 0; s < step; ++s) {
      FASTGAN_IVDEP
      for (int64_t i = 0; i < size; ++i) streams[s * pitch + i] = lines[i * step + s];
    }
  }
};

// out[r * out_row + m] = sum_j weights[j] * lines[r * line + 2 m + j] for j < 4: what SplitStreams
// and a WeightedSum do, without a pass through memory between them.
template <typename A>
struct HalveLines {
  static constexpr int64_t kTaps = 4;
  FASTGAN_INLINE static void run(const A* lines, int64_t line, const A* weights, A* out,
                                 int64_t rows, int64_t width) {
    const A w0 = weights[0], w1 = weights[1], w2 = weights[2], w3 = weights[3];
    for (int64_t r = 0; r < rows; ++r) {
      const A* const from = lines + r * line;
      A* const to = out + r * width;
      FASTGAN_IVDEP
      for (int64_t m = 0; m < width; ++m) {
        to[m] =
            w0 * from[2 * m] + w1 * from[2 * m + 1] + w2 * from[2 * m + 2] + w3 * from[2 * m + 3];
      }
    }
  }
};

// Lines r and r + 1 are 4 neighbouring input rows each, weighted; the second starts two rows below
// the first, so that half of what is loaded serves both. `rows` is even.
template <typename A>
struct HalveRows {
  FASTGAN_INLINE static void run(const A* image, int64_t image_row, const A* weights, A* lines,
                                 int64_t line, int64_t rows, int64_t width, int64_t ahead) {
    const A w0 = weights[0], w1 = weights[1], w2 = weights[2], w3 = weights[3];
    for (int64_t r = 0; r < rows; r += 2) {
      const A* const from = image + 2 * r * image_row;
      const A *const x0 = from, *const x1 = x0 + image_row, *const x2 = x1 + image_row;
      const A *const x3 = x2 + image_row, *const x4 = x3 + image_row, *const x5 = x4 + image_row;
      A *const first = lines + r * line, *const second = first + line;
      for (int64_t i = 0; i < 4 * width; i += 64 / sizeof(A)) __builtin_prefetch(x5 + ahead + i);
      FASTGAN_IVDEP
      for (int64_t i = 0; i < width; ++i) {
        first[i] = w0 * x0[i] + w1 * x1[i] + w2 * x2[i] + w3 * x3[i];
        second[i] = w0 * x2[i] + w1 * x3[i] + w2 * x4[i] + w3 * x5[i];
      }
    }
  }
};

// out[m * period + q] = phases[q * pitch + m]: the phases of a row, side by side.
template <typename A, typename T>
struct MergePhases {
  FASTGAN_INLINE static void run(const A* phases, int64_t pitch, int64_t period, T* out,
                                 int64_t size) {
    const int64_t whole = size / period;
    if (period == 2) {
      const A* const odd = phases + pitch;
      FASTGAN_IVDEP
      for (int64_t m = 0; m < whole; ++m) {
        out[2 * m] = store<T>(phases[m]);
        out[2 * m + 1] = store<T>(odd[m]);
      }
    } else {
      for (int64_t q = 0; q < period; ++q) {
        FASTGAN_IVDEP
        for (int64_t m = 0; m < whole; ++m) out[m * period + q] = store<T>(phases[q * pitch + m]);
      }
    }
    for (int64_t q = 0; q < size - whole * period; ++q) {
      out[whole * period + q] = store<T>(phases[q * pitch + whole]);
    }
  }
};

}  // namespace fastgan::cpu::upfirdn2d
