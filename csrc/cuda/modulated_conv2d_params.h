// One call of the fused modulated convolution, in the caller's words and in those of the kernels.
//
//   y = clamp(gain * act(out_scale[n, o] * conv(in_scale[n, i] * x, weight)[n, o] + noise +
//   bias[o]))
//
// The gradient of the input is the same op: the scales change places, the weight is flipped and its
// channels are transposed.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/bias_act_functions.cuh"
#include "cuda/storage.cuh"

namespace fastgan::cuda::modulated_conv2d {

// Images are dense, contiguous or channels_last. The weight is a correlation's, its memory
// [C_out, kh, kw, C_in]: what torch calls channels_last. Padding is [x0, x1, y0, y1] as
// conv2d_resample has it: with up = 2 (a 3 x 3 weight, a separable filter of 4 taps) that of the
// convolution, to which the filter's is added.
struct Call {
  int64_t batch, in_channels, out_channels, height, width;
  int64_t kernel_height, kernel_width, up;
  int64_t padding[4];
  int act;
  double alpha, gain, clamp;  // clamp < 0: none
  bool x_channels_last, y_channels_last;
  bool noise_per_sample;  // or one plane for all samples
  bool allow_tf32;

  // Upsampling by 4 taps shortens an axis by 3 and pads it by 2 and 1.
  int64_t out_width() const { return up * width + padding[0] + padding[1] - kernel_width + 1; }
  int64_t out_height() const { return up * height + padding[2] + padding[3] - kernel_height + 1; }
  int64_t out_numel() const {
    return batch * out_channels * std::max<int64_t>(out_height(), 0) *
           std::max<int64_t>(out_width(), 0);
  }
};

// Scales, noise and bias may be null. filter: the 4 taps of both axes, of a convolution as
// upfirdn2d has it; only read with up = 2.
template <typename T>
struct Tensors {
  const T *x, *weight;
  const acc_t<T>*in_scale, *out_scale;  // [N, C_in], [N, C_out]
  const acc_t<T>*noise, *bias;          // [N or 1, out_h, out_w], [C_out]
  const float* filter;
  T* y;
};

// Coordinates are int, offsets into memory int64_t.
template <typename T>
struct Params {
  const acc_t<T>*in_scale, *out_scale, *noise, *bias;
  const float* filter;
  int in_channels, out_channels, height, width, out_height, out_width;
  int kernel_height, kernel_width;
  int pad_x, pad_y;                            // before the first pixel
  int64_t x_image, x_plane, y_image, y_plane;  // strides; a plane is 1 apart in channels_last
  int x_pixel, y_pixel;
  int64_t noise_image;
  bool x_channels_last, y_channels_last;
  bool wide_x, wide_weight, wide_y;  // whether 16-byte packs of neighbours are aligned
  int tiles_x, tiles_y, tiles_m;     // of the grid: see place_of
  Coefficients<acc_t<T>> k;
};

// Sums of coordinates have to fit an int. Up = 2 is for the one case that StyleGAN2 has.
inline bool fits(const Call& call) {
  constexpr int64_t kMost = int64_t{1} << 28;
  int64_t most = std::max({call.height, call.width, call.in_channels, call.out_channels,
                           call.kernel_height, call.kernel_width});
  for (int64_t pad : call.padding) most = std::max(most, std::max(pad, -pad));
  const bool small = call.kernel_height == 3 && call.kernel_width == 3;
  return most <= kMost && (call.up == 1 || (call.up == 2 && small));
}

template <typename T>
Params<T> params_of(const Call& call, const Tensors<T>& t) {
  Params<T> p{};
  p.in_scale = t.in_scale;
  p.out_scale = t.out_scale;
  p.noise = t.noise;
  p.bias = t.bias;
  p.filter = t.filter;
  p.in_channels = static_cast<int>(call.in_channels);
  p.out_channels = static_cast<int>(call.out_channels);
  p.height = static_cast<int>(call.height);
  p.width = static_cast<int>(call.width);
  p.out_height = static_cast<int>(call.out_height());
  p.out_width = static_cast<int>(call.out_width());
  p.kernel_height = static_cast<int>(call.kernel_height);
  p.kernel_width = static_cast<int>(call.kernel_width);
  p.pad_x = static_cast<int>(call.padding[0]);
  p.pad_y = static_cast<int>(call.padding[2]);
  const int64_t pixels = call.height * call.width,
                out_pixels = call.out_height() * call.out_width();
  p.x_image = call.in_channels * pixels;
  p.y_image = call.out_channels * out_pixels;
  p.x_plane = call.x_channels_last ? 1 : pixels;
  p.y_plane = call.y_channels_last ? 1 : out_pixels;
  p.x_pixel = call.x_channels_last ? p.in_channels : 1;
  p.y_pixel = call.y_channels_last ? p.out_channels : 1;
  p.noise_image = call.noise_per_sample ? out_pixels : 0;
  p.x_channels_last = call.x_channels_last;
  p.y_channels_last = call.y_channels_last;
  const int pack = kWidestPack<T>;
  p.wide_x = (call.x_channels_last ? call.in_channels : pixels) % pack == 0 && is_aligned(t.x);
  p.wide_weight = call.in_channels % pack == 0 && is_aligned(t.weight);
  p.wide_y =
      (call.y_channels_last ? call.out_channels : call.out_width()) % pack == 0 && is_aligned(t.y);
  p.k = make_coefficients<acc_t<T>>(static_cast<Activation>(call.act), call.alpha, call.gain,
                                    call.clamp);
  return p;
}

// The part of the result that a block computes: a tile of pixels of one sample, and channels.
struct Place {
  int64_t sample;
  int x, y, channel;  // the first of each
};

// Blocks of one tile that differ in channels are neighbours: they read the same pixels.
template <typename Shape, typename T>
__device__ __forceinline__ Place place_of(const Params<T>& p) {
  const unsigned tile = blockIdx.x / p.tiles_m, row = tile / p.tiles_x, sample = row / p.tiles_y;
  return {sample, static_cast<int>(tile - row * p.tiles_x) * Shape::kTileWidth,
          static_cast<int>(row - sample * p.tiles_y) * Shape::kTileHeight,
          static_cast<int>(blockIdx.x - tile * p.tiles_m) * Shape::kM};
}

constexpr int64_t kMostBlocks = (int64_t{1} << 31) - 1;  // of a grid's first dimension

// Launches a kernel, one block for each tile. False, and nothing launched, when a grid cannot have
// so many blocks.
template <typename Shape, typename T, typename Kernel>
bool launch_tiles(Kernel kernel, const Call& call, const Tensors<T>& t, cudaStream_t stream) {
  Params<T> p = params_of(call, t);
  p.tiles_x = static_cast<int>(ceil_div(p.out_width, Shape::kTileWidth));
  p.tiles_y = static_cast<int>(ceil_div(p.out_height, Shape::kTileHeight));
  p.tiles_m = static_cast<int>(ceil_div(p.out_channels, Shape::kM));
  int64_t blocks = call.batch;
  const int counts[] = {p.tiles_x, p.tiles_y, p.tiles_m};
  for (const int tiles : counts) {
    if (blocks > kMostBlocks / tiles) return false;
    blocks *= tiles;
  }
  const dim3 grid(static_cast<unsigned>(blocks));
  GPU_LAUNCH(kernel, grid, dim3(Shape::kThreads), 0, stream, t.x, t.weight, t.y, p);
  return true;
}

}  // namespace fastgan::cuda::modulated_conv2d
