// Launchers of modulated_conv2d's own passes: scaling by the style on the way in, demodulation and
// noise on the way out. The convolution between them is torch's.
#include "cpu/modulated_conv2d_kernel.h"

#include "common/tensor.h"
#include "cpu/result_pool.h"

namespace fastgan::cpu {
namespace {

// Pixels of a unit. Planar: the noise gradient of a block stays in the first-level cache.
// Channels last: one running sum per channel, kept short so that float sums stay accurate.
constexpr int64_t kPlanarBlock = 1024;
constexpr int64_t kChannelsLastBlock = 128;

struct Layout {
  Tensor x;
  bool channels_last;
};

Layout image_layout(const Tensor& x) {
  if (is_channels_last(x)) return {x, true};
  return {x.is_contiguous() ? x : torch::stable::contiguous(x), false};
}

ScaleParams make_params(const Tensor& x, bool channels_last) {
  ScaleParams p{};
  p.channels = x.size(1);
  p.pixels = x.size(2) * x.size(3);
  const int64_t block = channels_last ? kChannelsLastBlock : kPlanarBlock;
  p.block = std::max<int64_t>(1, std::min(p.pixels, block));
  p.units_per_sample = (p.pixels + p.block - 1) / p.block;
  return p;
}

// Units per thread at least, so that small images do not pay for waking a thread.
int64_t grain(const ScaleParams& p) { return std::max<int64_t>(1, 16384 / (p.block * p.channels)); }

template <typename Body>
void dispatch_flags(bool channels_last, bool noise, const Body& body) {
  using Yes = std::true_type;
  using No = std::false_type;
  if (channels_last) {
    noise ? body(Yes{}, Yes{}) : body(Yes{}, No{});
  } else {
    noise ? body(No{}, Yes{}) : body(No{}, No{});
  }
}

void check_scale(const char* op, const Tensor& x, const Tensor& scale) {
  check_numel(op, "scale", scale, compute_type(x), x.size(0) * x.size(1));
}

Tensor scale(const Tensor& x_in, const Tensor& scale_in, const std::optional<Tensor>& noise_in) {
  const auto [x, channels_last] = image_layout(x_in);
  Tensor y = result_like(x);
  if (x.numel() == 0) return y;
  const Tensor factors = torch::stable::contiguous(scale_in);
  check_scale("modulated_conv2d_scale", x, scale_in);
  std::optional<Tensor> noise;
  if (noise_in) {
    check_numel("modulated_conv2d_scale", "noise", *noise_in, compute_type(x),
                x.size(0) * x.size(2) * x.size(3));
  }
  if (noise_in) noise = torch::stable::contiguous(*noise_in);
  const ScaleParams p = make_params(x, channels_last);
  dispatch_dtype("modulated_conv2d", x.scalar_type(), [&, &x = x](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    const T* x_data = data<T>(x);
    const A* scale_data = data<A>(factors);
    const A* noise_data = noise ? data<A>(*noise) : nullptr;
    T* y_data = mutable_data<T>(y);
    dispatch_flags(channels_last, noise.has_value(), [&](auto last, auto with_noise) {
      using Loop = ScaleLoop<T, decltype(last)::value, decltype(with_noise)::value>;
      torch::stable::parallel_for(
          0, x.size(0) * p.units_per_sample, grain(p), [&](int64_t begin, int64_t end) {
            run<Loop>(x_data, scale_data, noise_data, y_data, begin, end, p);
          });
    });
  });
  return y;
}

template <typename T>
void sum_units(const std::vector<acc_t<T>>& sums, const ScaleParams& p, int64_t samples,
               acc_t<T>* target) {
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t c = 0; c < p.channels; ++c) {
      double total = 0;
      for (int64_t u = 0; u < p.units_per_sample; ++u) {
        total += sums[(n * p.units_per_sample + u) * p.channels + c];
      }
      target[n * p.channels + c] = static_cast<acc_t<T>>(total);
    }
  }
}

std::tuple<Tensor, Tensor, Tensor> scale_grad(const Tensor& grad_y_in, const Tensor& x_in,
                                              const Tensor& scale_in, bool with_noise) {
  const auto [x, channels_last] = image_layout(x_in);
  check_scale("modulated_conv2d_scale_grad", x, scale_in);
  check_like("modulated_conv2d_scale_grad", "grad_y", grad_y_in, x_in);
  const int64_t samples = x.size(0);
  Tensor grad_x = result_like(x);
  Tensor grad_scale = torch::stable::new_zeros(scale_in, {samples, x.size(1)});
  Tensor grad_noise = with_noise
                          ? torch::stable::new_zeros(scale_in, {samples, 1, x.size(2), x.size(3)})
                          : torch::stable::new_zeros(scale_in, {0});
  if (x.numel() == 0) return {grad_x, grad_scale, grad_noise};
  const Tensor grad_y = in_layout_of(grad_y_in, x);
  const Tensor factors = torch::stable::contiguous(scale_in);
  const ScaleParams p = make_params(x, channels_last);
  dispatch_dtype("modulated_conv2d", x.scalar_type(), [&, &x = x](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    std::vector<A> sums(samples * p.units_per_sample * p.channels, A(0));
    const T *g_data = data<T>(grad_y), *x_data = data<T>(x);
    const A* scale_data = data<A>(factors);
    T* grad_x_data = mutable_data<T>(grad_x);
    A *sums_data = sums.data(), *noise_data = mutable_data<A>(grad_noise);
    dispatch_flags(channels_last, with_noise, [&](auto last, auto noisy) {
      using Loop = ScaleGradLoop<T, decltype(last)::value, decltype(noisy)::value>;
      torch::stable::parallel_for(0, samples * p.units_per_sample, 1,
                                  [&](int64_t begin, int64_t end) {
                                    run<Loop>(g_data, x_data, scale_data, grad_x_data, sums_data,
                                              noise_data, begin, end, p);
                                  });
    });
    sum_units<T>(sums, p, samples, mutable_data<A>(grad_scale));
  });
  return {grad_x, grad_scale, grad_noise};
}

}  // namespace
}  // namespace fastgan::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cpp, m) {
  m.def("modulated_conv2d_scale(Tensor x, Tensor scale, Tensor? noise) -> Tensor");
  m.def(
      "modulated_conv2d_scale_grad(Tensor grad_y, Tensor x, Tensor scale, bool with_noise) -> "
      "(Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cpp, CPU, m) {
  m.impl("modulated_conv2d_scale", TORCH_BOX(&fastgan::cpu::scale));
  m.impl("modulated_conv2d_scale_grad", TORCH_BOX(&fastgan::cpu::scale_grad));
}
