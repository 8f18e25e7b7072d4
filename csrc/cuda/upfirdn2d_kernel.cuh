// Launcher of upfirdn2d on the GPU: which kernel serves a call. Raw pointers, no torch.
//
// The gradient is the same op with up and down swapped, the filter flipped and other padding.
#pragma once

#include <algorithm>

#include "cuda/upfirdn2d_general.cuh"
#include "cuda/upfirdn2d_params.h"
#include "cuda/upfirdn2d_separable.cuh"
#include "cuda/upfirdn2d_tiled.cuh"

namespace fastgan::cuda::upfirdn2d {

enum class Kernel {
  kGeneral,    // any 2-D filter
  kTwoPasses,  // any separable filter: the general kernel along x and then along y
  kTiled,      // 2-D filters up to 8 x 8
  kSeparable,  // separable filters of 8 to 24 taps, contiguous images
};

template <typename T>
Kernel choose(const Call& call) {
  const int64_t up = call.up[0], down = call.down[0];
  constexpr int64_t kLanes = kSectorBytes / sizeof(T);  // channels of a channels_last tile
  const int64_t groups = call.channels_last ? ceil_div(call.channels, kLanes) : 1;
  const int64_t tiles = ceil_div(call.out_width(), 4) * call.out_height() * groups;
  const bool factor = up == 1 || up == 2 || up == 4;
  const bool divisor = down == 1 || down == 2 || down == 4;
  const bool known = up == call.up[1] && down == call.down[1] && factor && divisor &&
                     (up == 1 || down == 1) && tiles < (int64_t{1} << 31);
  if (call.separable) {
    const bool length = call.filter_width >= 8 && call.filter_width <= kLongestTaps;
    // The tile of a double image at a quarter does not fit into 48 KiB.
    const bool room = sizeof(acc_t<T>) == 4 || down < 4;
    return known && length && room && !call.channels_last ? Kernel::kSeparable : Kernel::kTwoPasses;
  }
  const bool small = call.filter_width <= 8 && call.filter_height <= 8 &&
                     call.filter_width * call.filter_height > 1;
  // With few channels most lanes of a channels_last tile would be idle.
  const bool lanes = !call.channels_last || 2 * call.channels >= kLanes;
  return known && small && lanes ? Kernel::kTiled : Kernel::kGeneral;
}

// Elements of acc_t<T> that `launch` needs as workspace.
inline int64_t workspace_numel(const Call& call, Kernel kernel) {
  if (kernel != Kernel::kTwoPasses) return 0;
  return call.batch * call.channels * call.height * call.out_width();
}

template <typename T, int kUp, int kDown, int kTaps, bool kChannelsLast>
using TileFor = Tile<kUp, kDown, kTaps, sizeof(T), kChannelsLast>;

template <typename T, int kUp, int kDown>
void launch_tiles(const Call& call, const T* x, const float* filter, T* y, int grid_y,
                  cudaStream_t stream) {
  const Params p = params_of(call);
  const bool small = std::max(call.filter_width, call.filter_height) <= 4;
  if (call.channels_last) {
    if (small) {
      launch_tiled<T, TileFor<T, kUp, kDown, 4, true>>(x, filter, y, p, grid_y, stream);
    } else {
      launch_tiled<T, TileFor<T, kUp, kDown, 8, true>>(x, filter, y, p, grid_y, stream);
    }
  } else if (small) {
    launch_tiled<T, TileFor<T, kUp, kDown, 4, false>>(x, filter, y, p, grid_y, stream);
  } else {
    launch_tiled<T, TileFor<T, kUp, kDown, 8, false>>(x, filter, y, p, grid_y, stream);
  }
}

template <typename T, int kUp, int kDown>
void launch_strips(const Call& call, const T* x, const float* filter, T* y, int grid_y,
                   cudaStream_t stream) {
  if constexpr (sizeof(acc_t<T>) == 4 || kDown < 4) {
    launch_separable<T, Strip<kUp, kDown, 256>>(x, filter, y, params_of(call), grid_y, stream);
  }
}

// Calls `body` with the factors as template arguments; `choose` let only these pass.
template <typename Body>
void with_factors(const Call& call, const Body& body) {
  const int64_t up = call.up[0], down = call.down[0];
  if (up == 4) return body.template operator()<4, 1>();
  if (up == 2) return body.template operator()<2, 1>();
  if (down == 4) return body.template operator()<1, 4>();
  if (down == 2) return body.template operator()<1, 2>();
  return body.template operator()<1, 1>();
}

template <typename T>
struct Launch {
  const Call& call;
  Kernel kernel;
  const T* x;
  const float* filter;
  T* y;
  int grid_y;
  cudaStream_t stream;

  template <int kUp, int kDown>
  void operator()() const {
    if (kernel == Kernel::kTiled) {
      launch_tiles<T, kUp, kDown>(call, x, filter, y, grid_y, stream);
    } else {
      launch_strips<T, kUp, kDown>(call, x, filter, y, grid_y, stream);
    }
  }
};

// Launches `kernel`, which is choose<T>(call), or kGeneral or kTwoPasses, which serve any filter of
// their kind. False, and nothing launched, when an axis is too long for the kernels (see fits).
// `grid_y` bounds the second dimension of the grid: planes beyond it are loop iterations.
template <typename T>
bool launch(const Call& call, Kernel kernel, const T* x, const float* filter, T* y,
            acc_t<T>* workspace, cudaStream_t stream, int grid_y = kMaxGridY) {
  if (!fits(call)) return false;
  if (call.out_numel() == 0) return true;
  if (kernel == Kernel::kGeneral) {
    launch_general<T, T>(x, filter, y, params_of(call), stream);
  } else if (kernel == Kernel::kTwoPasses) {
    launch_general<T, acc_t<T>>(x, filter, workspace, pass_x(call), stream);
    launch_general<acc_t<T>, T>(workspace, filter, y, pass_y(call), stream);
  } else {
    with_factors(call, Launch<T>{call, kernel, x, filter, y, grid_y, stream});
  }
  return true;
}

}  // namespace fastgan::cuda::upfirdn2d
