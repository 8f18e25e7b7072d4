// 1 x 1 convolutions to few channels, such as ToRGB: reading x is all they cost. A thread keeps the
// sums of all channels of the result, so that x is read once.
//
// Both kernels: blocks of 128 threads; weights times in_scale in shared memory, 512 channels at a
// time (8 KiB, double 16 KiB); a 16-byte load of x feeds 4 multiply-adds for each of its values.
// Contiguous: a thread has a pack of pixels and walks the channels, four loads in flight; a block
// reads C_in * 2 KiB and has 8 or 16 KiB of shared memory more for its sums. channels_last: 8 lanes
// read 128 neighbouring bytes of a pixel, four pixels in flight, and add up; a block reads C_in *
// 64 values. The image is one row: p.width pixels.
#pragma once

#include "cuda/modulated_conv2d_epilogue.cuh"

namespace fastgan::cuda::modulated_conv2d {

constexpr int kRgbChannels = 4;  // most channels of the result

template <typename T_, int kThreads_>
struct RgbShape {
  using T = T_;
  using A = acc_t<T>;
  static constexpr int kThreads = kThreads_, kPack = kWidestPack<T>, kChunk = 512;
  static constexpr int kLanes = 8, kRounds = 4, kSide = kThreads / kLanes;  // of channels_last
  static constexpr int kLines = lines(kChunk * kRgbChannels * static_cast<int>(sizeof(A)));
};

// weights[c][o] = weight * in_scale of the channels from `first` on.
template <typename Shape>
__device__ __forceinline__ void load_rgb_weights(const typename Shape::T* __restrict__ weight,
                                                 typename Shape::A* weights, int64_t sample,
                                                 int first, const Params<typename Shape::T>& p) {
  __syncthreads();  // all have read those before
  for (int i = threadIdx.x; i < Shape::kChunk * kRgbChannels; i += Shape::kThreads) {
    const int o = i / Shape::kChunk, c = first + i % Shape::kChunk;
    typename Shape::A value = 0;
    if (o < p.out_channels && c < p.in_channels) {
      value = load(weight[static_cast<int64_t>(o) * p.in_channels + c]);
      if (p.in_scale != nullptr) value *= __ldg(p.in_scale + sample * p.in_channels + c);
    }
    weights[i % Shape::kChunk * kRgbChannels + o] = value;
  }
  __syncthreads();
}

template <typename T, typename Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    modulated_rgb_planar(const T* __restrict__ x, const T* __restrict__ weight, T* __restrict__ y,
                         Params<T> p) {
  using A = acc_t<T>;
  constexpr int kPack = Shape::kPack;
  GPU_SHARED(Line, shared, Shape::kLines);
  GPU_SHARED(A, kept, kRgbChannels * Shape::kThreads * kPack);
  A* weights = reinterpret_cast<A*>(shared);
  const int64_t sample = blockIdx.x / p.tiles_x;
  const int thread = threadIdx.x;
  const int pixel = (static_cast<int>(blockIdx.x % p.tiles_x) * Shape::kThreads + thread) * kPack;
  const int count = within(p.width - pixel, kPack);
  const T* from = x + sample * p.x_image + (count > 0 ? pixel : 0);
  A sums[kRgbChannels][kPack] = {};
  for (int first = 0; first < p.in_channels; first += Shape::kChunk) {
    load_rgb_weights<Shape>(weight, weights, sample, first, p);
    const int channels = within(p.in_channels - first, Shape::kChunk);
#pragma unroll 4
    for (int c = 0; c < channels; ++c) {
      const auto pack = gather(from + (first + c) * p.x_plane, 1, count, p.wide_x);
      A w[kRgbChannels];
      read_run(weights + c * kRgbChannels, w);
#pragma unroll
      for (int o = 0; o < kRgbChannels; ++o) {
#pragma unroll
        for (int i = 0; i < kPack; ++i) sums[o][i] += w[o] * load(pack.values[i]);
      }
    }
  }
  // A thread reads what it wrote itself: registers cannot be picked by number.
#pragma unroll
  for (int o = 0; o < kRgbChannels; ++o) {
#pragma unroll
    for (int i = 0; i < kPack; ++i) kept[(o * kPack + i) * Shape::kThreads + thread] = sums[o][i];
  }
#pragma unroll 1
  for (int o = 0; o < p.out_channels; ++o) {
    A v[kPack];
#pragma unroll
    for (int i = 0; i < kPack; ++i) v[i] = kept[(o * kPack + i) * Shape::kThreads + thread];
    finish_pixels(v, count, sample, o, 0, pixel, p, y);
  }
}

template <typename T, typename Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    modulated_rgb_channels_last(const T* __restrict__ x, const T* __restrict__ weight,
                                T* __restrict__ y, Params<T> p) {
  using A = acc_t<T>;
  constexpr int kPack = Shape::kPack, kLanes = Shape::kLanes, kRounds = Shape::kRounds;
  GPU_SHARED(Line, shared, Shape::kLines);
  A* weights = reinterpret_cast<A*>(shared);
  const int64_t sample = blockIdx.x / p.tiles_x;
  const int lane = threadIdx.x % kLanes;
  const int pixel = static_cast<int>(blockIdx.x % p.tiles_x) * (Shape::kSide * kRounds) +
                    static_cast<int>(threadIdx.x) / kLanes;
  const T* image = x + sample * p.x_image;
  A sums[kRgbChannels][kRounds] = {};
  for (int first = 0; first < p.in_channels; first += Shape::kChunk) {
    load_rgb_weights<Shape>(weight, weights, sample, first, p);
    const int channels = within(p.in_channels - first, Shape::kChunk);
    for (int c = lane * kPack; c < channels; c += kLanes * kPack) {
      Pack<T, kPack> packs[kRounds];
#pragma unroll
      for (int r = 0; r < kRounds; ++r) {
        const int64_t here = pixel + r * Shape::kSide;
        const bool inside = here < p.width;
        packs[r] = gather(image + (inside ? here * p.in_channels + first + c : 0), 1,
                          inside ? channels - c : 0, p.wide_x);
      }
#pragma unroll
      for (int i = 0; i < kPack; ++i) {
        A w[kRgbChannels];
        read_run(weights + (c + i) * kRgbChannels, w);
#pragma unroll
        for (int o = 0; o < kRgbChannels; ++o) {
#pragma unroll
          for (int r = 0; r < kRounds; ++r) sums[o][r] += w[o] * load(packs[r].values[i]);
        }
      }
    }
  }
  A v[kRgbChannels] = {};
#pragma unroll
  for (int r = 0; r < kRounds; ++r) {
#pragma unroll
    for (int o = 0; o < kRgbChannels; ++o) {
      A sum = sums[o][r];
#pragma unroll
      for (int bits = kLanes / 2; bits > 0; bits /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, bits);
      }
      if (lane == r) v[o] = sum;
    }
  }
  if (lane < kRounds) finish_channels(v, sample, 0, 0, pixel + lane * Shape::kSide, p, y);
}

inline bool is_rgb(const Call& call) {
  const bool padded = call.padding[0] || call.padding[1] || call.padding[2] || call.padding[3];
  return call.kernel_height == 1 && call.kernel_width == 1 && call.up == 1 && !padded &&
         call.out_channels <= kRgbChannels && call.height * call.width < (int64_t{1} << 28);
}

template <typename T, typename Shape>
bool launch_rgb(const Call& call, const Tensors<T>& t, cudaStream_t stream) {
  Call row = call;
  row.width *= row.height;
  row.height = 1;
  Params<T> p = params_of(row, t);
  const int width =
      call.x_channels_last ? Shape::kSide * Shape::kRounds : Shape::kThreads * Shape::kPack;
  p.tiles_x = static_cast<int>(ceil_div(row.width, width));
  if (call.batch > kMostBlocks / p.tiles_x) return false;
  const dim3 grid(static_cast<unsigned>(p.tiles_x * call.batch)), block(Shape::kThreads);
  if (call.x_channels_last) {
    GPU_LAUNCH((modulated_rgb_channels_last<T, Shape>), grid, block, 0, stream, t.x, t.weight, t.y,
               p);
  } else {
    GPU_LAUNCH((modulated_rgb_planar<T, Shape>), grid, block, 0, stream, t.x, t.weight, t.y, p);
  }
  return true;
}

}  // namespace fastgan::cuda::modulated_conv2d
