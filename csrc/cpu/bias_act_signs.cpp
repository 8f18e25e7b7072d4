// Launchers of bias_act with bits for the gradient: two thirds of the memory traffic of a backward
// that reads the output again. For planes of whole blocks, of float32 and float64.
#include "cpu/bias_act_signs_kernel.h"

#include "common/tensor.h"
#include "cpu/result_pool.h"
#include "cpu/stream.h"

namespace fastgan::cpu {
namespace {

constexpr int64_t kGroup = 32;  // blocks that a thread takes at least

struct Planes {
  int64_t channels;
  int64_t blocks;  // of one plane
  int64_t count;   // of all planes
};

Planes planes_of(const Tensor& x, int64_t dim) {
  STD_TORCH_CHECK(dim >= 0 && dim < x.dim(), "bias_act_signs: dim ", dim, " is out of range for ",
                  x.dim(), " dimensions");
  int64_t plane = 1;
  for (int64_t d = dim + 1; d < x.dim(); ++d) plane *= x.size(d);
  STD_TORCH_CHECK(x.numel() > 0 && plane % kSignBlock == 0,
                  "bias_act_signs: planes must have a multiple of ", kSignBlock, " elements, got ",
                  plane);
  return {x.size(dim), plane / kSignBlock, x.numel() / kSignBlock};
}

void check_type(const Tensor& x) {
  STD_TORCH_CHECK(x.scalar_type() == ScalarType::Float || x.scalar_type() == ScalarType::Double,
                  "bias_act_signs: expected float32 or float64");
}

// Whether a result is to go around the caches, and may: whole lines only.
template <typename T>
bool streams(const Tensor& y) {
  return y.numel() * static_cast<int64_t>(sizeof(T)) > stream_bytes() &&
         reinterpret_cast<uintptr_t>(data<T>(y)) % 64 == 0;
}

template <typename T, bool kRelu, bool kClamp>
void forward(const Tensor& x, const Tensor* bias, const Tensor& y, const Tensor& signs,
             const Planes& planes, double alpha, double gain, double limit) {
  const SignsForward<T> function = signs_forward_variant<T, kRelu, kClamp>();
  const SignsParams<T> params{T(alpha), T(gain), T(limit), streams<T>(y)};
  const T* from = data<T>(x);
  T* to = mutable_data<T>(y);
  const T* biases = bias == nullptr ? nullptr : data<T>(*bias);
  uint32_t* positive = reinterpret_cast<uint32_t*>(mutable_data<int32_t>(signs));
  uint32_t* inside = positive + (kClamp ? planes.count * kSignWords : 0);
  torch::stable::parallel_for(0, planes.count, kGroup, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T value = biases == nullptr ? T(0) : biases[i / planes.blocks % planes.channels];
      function(from + i * kSignBlock, value, to + i * kSignBlock, positive + i * kSignWords,
               inside + i * kSignWords, params);
    }
    if (params.stream) finish_streaming();
  });
}

std::tuple<Tensor, Tensor> bias_act_signs(const Tensor& x_in, const std::optional<Tensor>& bias_in,
                                          int64_t dim, const std::string& act, double alpha,
                                          double gain, double clamp) {
  const Tensor x = torch::stable::contiguous(x_in);
  const Planes planes = planes_of(x, dim);
  STD_TORCH_CHECK(act == "linear" || act == "lrelu" || act == "relu",
                  "bias_act_signs: act must be piecewise linear, got ", act);
  check_type(x);
  std::optional<Tensor> bias;
  if (bias_in) {
    check_numel("bias_act_signs", "bias", *bias_in, x.scalar_type(), planes.channels);
    bias = torch::stable::contiguous(*bias_in);
  }
  const Tensor* bias_pointer = bias ? &*bias : nullptr;
  Tensor y = result_like(x);
  const Tensor signs = torch::stable::new_empty(
      x, {(clamp < 0 ? 1 : 2) * planes.count * kSignWords}, ScalarType::Int);
  const double slope = act == "linear" ? 1.0 : alpha;
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    if (act == "relu") {
      return clamp < 0
                 ? forward<T, true, false>(x, bias_pointer, y, signs, planes, slope, gain, clamp)
                 : forward<T, true, true>(x, bias_pointer, y, signs, planes, slope, gain, clamp);
    }
    return clamp < 0
               ? forward<T, false, false>(x, bias_pointer, y, signs, planes, slope, gain, clamp)
               : forward<T, false, true>(x, bias_pointer, y, signs, planes, slope, gain, clamp);
  };
  x.scalar_type() == ScalarType::Double ? run(double{}) : run(float{});
  return {y, signs};
}

template <typename T, bool kClamp>
void backward(const Tensor& g, const Tensor& signs, const Tensor& grad_x,
              const Tensor* channel_sums, const Planes& planes, double alpha, double gain) {
  const SignsBackward<T> function = signs_backward_variant<T, kClamp>();
  const SignsParams<T> params{T(alpha), T(gain), T(0), streams<T>(grad_x)};
  const T* from = data<T>(g);
  T* to = mutable_data<T>(grad_x);
  const uint32_t* positive = reinterpret_cast<const uint32_t*>(data<int32_t>(signs));
  const uint32_t* inside = positive + (kClamp ? planes.count * kSignWords : 0);
  std::vector<T> sums(planes.count, T(0));
  T* sums_data = sums.data();
  torch::stable::parallel_for(0, planes.count, kGroup, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      sums_data[i] = function(from + i * kSignBlock, to + i * kSignBlock, positive + i * kSignWords,
                              inside + i * kSignWords, params);
    }
    if (params.stream) finish_streaming();
  });
  if (channel_sums == nullptr) return;
  std::vector<double> totals(planes.channels, 0.0);
  for (int64_t i = 0; i < planes.count; ++i) totals[i / planes.blocks % planes.channels] += sums[i];
  T* target = mutable_data<T>(*channel_sums);
  for (int64_t c = 0; c < planes.channels; ++c) target[c] = static_cast<T>(totals[c]);
}

std::tuple<Tensor, Tensor> bias_act_signs_grad(const Tensor& grad_y, const Tensor& signs,
                                               int64_t dim, double alpha, double gain,
                                               bool with_bias) {
  const Tensor g = torch::stable::contiguous(grad_y);
  const Planes planes = planes_of(g, dim);
  const int64_t words = planes.count * kSignWords;
  check_type(g);
  check_numel("bias_act_signs_grad", "signs", signs, ScalarType::Int,
              signs.numel() == words ? words : 2 * words);
  Tensor grad_x = result_like(g);
  const Tensor sums = torch::stable::new_empty(g, {with_bias ? planes.channels : 0});
  const Tensor* target = with_bias ? &sums : nullptr;
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    signs.numel() == words ? backward<T, false>(g, signs, grad_x, target, planes, alpha, gain)
                           : backward<T, true>(g, signs, grad_x, target, planes, alpha, gain);
  };
  g.scalar_type() == ScalarType::Double ? run(double{}) : run(float{});
  return {grad_x, sums};
}

}  // namespace
}  // namespace fastgan::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cpp, m) {
  m.def(
      "bias_act_signs(Tensor x, Tensor? bias, int dim, str act, float alpha, float gain, "
      "float clamp) -> (Tensor, Tensor)");
  m.def(
      "bias_act_signs_grad(Tensor grad_y, Tensor signs, int dim, float alpha, float gain, "
      "bool with_bias) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cpp, CPU, m) {
  m.impl("bias_act_signs", TORCH_BOX(&fastgan::cpu::bias_act_signs));
  m.impl("bias_act_signs_grad", TORCH_BOX(&fastgan::cpu::bias_act_signs_grad));
}
