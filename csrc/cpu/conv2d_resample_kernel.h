// 3x3 convolutions joined with up- or downsampling by 2, in float32 on channels_last images: what
// the launcher (conv2d_resample.cpp) hands to the kernels, and their table for each instruction
// set.
//
// Three functions, each the gradient of the other two. With W a 3x3 weight and t four taps,
//   T[2i + k, 2j + l, o]  = sum_c W[c, o, k, l] low[i, j, c], summed where several (i, k) meet
//   up:      high[Y, X]   = sum_ab t[a] t[b] T[Y - 1 + a, X - 1 + b]
//   down:    S[r, s]      = sum_ab t[a] t[b] high[r - 2 + a, s - 2 + b]
//            low[i, j, c] = sum_klo W[c, o, k, l] S[2i + k, 2j + l, o]
//   weight gradient: dW[c, o, k, l] = sum_ij low[i, j, c] S[2i + k, 2j + l, o]
// low is [samples, height, width, low], high [samples, 2 height, 2 width, high]. up and down are
// adjoint when the taps of one are those of the other reversed.
//
// The stride-2 part is computed on tiles of `tile` x `tile` low pixels by minimal filtering
// (minimal_filter.h): 9 products per low pixel and pair of channels for tiles of 1, 6.25 for 2,
// 5.06 for 4. Tiles do not overlap in low; in T they share a row and a column, and are added.
#pragma once

#include <cstdint>

namespace fastgan::cpu {

// Channels of both images are multiples of this for every instruction set.
constexpr int kResampleChannels = 16;

struct ResampleCall {
  int64_t samples, height, width;  // of low
  int low, high;                   // channels
  int tile;                        // 1, 2 or 4
  float taps[4];
  // up: a unit of work is a strip of tile rows of `group` images; one of them if strips > 1.
  int64_t group, strips;
  // Tile rows that are transformed and multiplied at once. down and weight gradient count tile rows
  // through all samples.
  int64_t step;
  // weight gradient: parts of the sum over tile rows, and channels in a unit, multiples of 32.
  int64_t parts;
  int low_block, high_block;

  int64_t tile_rows() const { return (height + tile - 1) / tile; }
  int64_t tile_columns() const { return (width + tile - 1) / tile; }
};

// A weight: low channel, high channel and tap step by these; `taps` are those of one channel pair.
struct ResampleWeight {
  const float* data;
  int64_t low, high;
  int64_t taps[9];
};

// The kernels of one instruction set. Sizes are in floats, units are for threads.
struct ResampleKernels {
  // The weight as the products take it: inputs are low channels for up, high channels for down.
  int64_t (*packed_size)(const ResampleCall&);
  int64_t (*pack_units)(const ResampleCall&, bool up);
  void (*pack)(const ResampleCall&, bool up, const ResampleWeight&, float* packed, int64_t begin,
               int64_t end);

  int64_t (*up_scratch)(const ResampleCall&);
  void (*up)(const ResampleCall&, const float* low, const float* packed, float* high, int64_t begin,
             int64_t end, float* scratch);

  int64_t (*down_scratch)(const ResampleCall&);
  void (*down)(const ResampleCall&, const float* high, const float* packed, float* low,
               int64_t begin, int64_t end, float* scratch);

  // Gradient at the points, for a part of the tile rows; then the sum of the parts at the taps.
  int64_t (*points_size)(const ResampleCall&);
  int64_t (*points_units)(const ResampleCall&);
  int64_t (*points_scratch)(const ResampleCall&);
  void (*points)(const ResampleCall&, const float* low, const float* high, float* points,
                 int64_t begin, int64_t end, float* scratch);
  // Units are low channels. `weight` is written, whatever its type says.
  void (*weight_grad)(const ResampleCall&, const float* points, const ResampleWeight& weight,
                      int64_t begin, int64_t end);
};

// Null where this compiler cannot build the instruction set.
const ResampleKernels* resample_kernels_portable();
const ResampleKernels* resample_kernels_avx2();
const ResampleKernels* resample_kernels_avx512();

}  // namespace fastgan::cpu
