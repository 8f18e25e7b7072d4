// Launcher of the modulated convolution on the GPU: which kernel serves a call. Raw pointers, no
// torch.
#pragma once

#include "cuda/modulated_conv2d_rgb.cuh"
#include "cuda/modulated_conv2d_simt.cuh"
#include "cuda/modulated_conv2d_up2.cuh"
#include "cuda/modulated_conv2d_wmma.cuh"

namespace fastgan::cuda::modulated_conv2d {

// Block shapes; tests have smaller ones.
struct Usual {
  template <typename T, int kReach>
  using Simt = SimtShape<T, kReach, 8, 8>;
  template <typename T, int kReach>
  using Wmma = WmmaShape<T, kReach, 4, 4>;
  template <typename T>
  using UpSimt = UpSimtShape<T, 4, 8>;
  template <typename T>
  using UpWmma = UpWmmaShape<T, 2, 8>;
  template <typename T>
  using Rgb = RgbShape<T, 128>;
};

// Tensor cores serve half types always and float where tf32 is allowed.
template <typename T, typename Simt, typename Wmma>
bool launch_product(const Call& call, const Tensors<T>& t, cudaStream_t stream) {
  if constexpr (sizeof(T) < 8) {
    if (sizeof(T) == 2 || call.allow_tf32) {
      return launch_tiles<Wmma>(modulated_conv_wmma<T, Wmma>, call, t, stream);
    }
  }
  if constexpr (sizeof(T) > 2) {
    return launch_tiles<Simt>(modulated_conv_simt<T, Simt>, call, t, stream);
  }
  return false;
}

template <typename T, typename Simt, typename Wmma>
bool launch_up2(const Call& call, const Tensors<T>& t, cudaStream_t stream) {
  if constexpr (sizeof(T) < 8) {
    if (sizeof(T) == 2 || call.allow_tf32) {
      return launch_tiles<Wmma>(modulated_up2_wmma<T, Wmma>, call, t, stream);
    }
  }
  if constexpr (sizeof(T) > 2) {
    return launch_tiles<Simt>(modulated_up2_simt<T, Simt>, call, t, stream);
  }
  return false;
}

// False, and nothing launched, when no kernel serves the call: see fits and launch_tiles.
template <typename T, typename Shapes = Usual>
bool launch_modulated_conv2d(const Call& call, const Tensors<T>& t, cudaStream_t stream) {
  if (!fits(call)) return false;
  if (call.out_numel() == 0) return true;
  if (call.up == 2) {
    return launch_up2<T, typename Shapes::template UpSimt<T>, typename Shapes::template UpWmma<T>>(
        call, t, stream);
  }
  if (is_rgb(call)) return launch_rgb<T, typename Shapes::template Rgb<T>>(call, t, stream);
  if (call.kernel_height == 3 && call.kernel_width == 3) {
    return launch_product<T, typename Shapes::template Simt<T, 3>,
                          typename Shapes::template Wmma<T, 3>>(call, t, stream);
  }
  return launch_product<T, typename Shapes::template Simt<T, 1>,
                        typename Shapes::template Wmma<T, 1>>(call, t, stream);
}

}  // namespace fastgan::cuda::modulated_conv2d
