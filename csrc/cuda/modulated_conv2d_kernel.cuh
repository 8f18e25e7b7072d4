// Launcher of the modulated convolution on the GPU: which kernel serves a call. Raw pointers, no
// torch.
#pragma once

#include "cuda/modulated_conv2d_rgb.cuh"
#include "cuda/modulated_conv2d_simt.cuh"
#include "cuda/modulated_conv2d_wmma.cuh"

namespace fastgan::cuda::modulated_conv2d {

// Block shapes, for launches and for tests, which want small ones.
struct Usual {
  template <typename T, int kReach>
  using Simt = SimtShape<T, kReach, 8, 8>;
  template <typename T, int kReach>
  using Wmma = WmmaShape<T, kReach, 4, 4>;
  template <typename T>
  using Rgb = RgbShape<T, 128>;
};

template <typename T, typename Shapes, int kReach>
bool launch_same_size(const Call& call, const Tensors<T>& t, cudaStream_t stream) {
  if constexpr (sizeof(T) == 2) {
    return launch_wmma<T, typename Shapes::template Wmma<T, kReach>>(call, t, stream);
  } else {
    if constexpr (sizeof(T) == 4) {
      if (call.allow_tf32) {
        return launch_wmma<T, typename Shapes::template Wmma<T, kReach>>(call, t, stream);
      }
    }
    return launch_simt<T, typename Shapes::template Simt<T, kReach>>(call, t, stream);
  }
}

// False, and nothing launched, when no kernel serves the call: see fits.
template <typename T, typename Shapes = Usual>
bool launch_modulated_conv2d(const Call& call, const Tensors<T>& t, cudaStream_t stream) {
  if (!fits(call)) return false;
  if (call.out_numel() == 0) return true;
  if (is_rgb(call)) return launch_rgb<T, typename Shapes::template Rgb<T>>(call, t, stream);
  if (call.kernel_height == 3 && call.kernel_width == 3) {
    return launch_same_size<T, Shapes, 3>(call, t, stream);
  }
  return launch_same_size<T, Shapes, 1>(call, t, stream);
}

}  // namespace fastgan::cuda::modulated_conv2d
