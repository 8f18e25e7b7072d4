// Launchers of bias_act: checks, layout, threads, registration. The loops are in
// bias_act_kernel.h. Sums over a channel run in a fixed order, for any number of threads.
#include "cpu/bias_act_kernel.h"

#include <cmath>
#include <limits>

#include "common/tensor.h"

namespace fastgan::cpu {
namespace {

constexpr int64_t kUnit = 16384;  // elements: half of a 128 KiB first-level budget for three arrays

Tensor dense(const Tensor& x) { return is_dense(x) ? x : torch::stable::contiguous(x); }

BiasActParams make_params(const Tensor& x, int64_t dim, const std::string& act, double alpha,
                          double gain, double clamp) {
  BiasActParams p{};
  const int64_t numel = std::max<int64_t>(x.numel(), 1);
  p.channels = x.dim() == 0 ? 1 : std::max<int64_t>(x.size(dim), 1);
  p.inner = p.channels == 1 ? numel : x.stride(dim);
  if (p.inner == 1 && p.channels > 1) {
    p.rows = numel / p.channels;
    p.rows_per_unit = std::max<int64_t>(1, kUnit / p.channels);
  } else {
    p.rows = numel / p.inner;
    p.unit_size = std::min(p.inner, kUnit);
    p.units_per_row = (p.inner + p.unit_size - 1) / p.unit_size;
  }
  const bool selu = act == "selu";
  p.alpha = act == "linear" ? 1.0 : act == "relu" ? 0.0 : selu ? 1.6732632423543772 : alpha;
  if (act == "elu") p.alpha = 1.0;
  p.scale = selu ? 1.0507009873554805 : 1.0;
  p.gain = gain;
  p.limit = clamp < 0 ? std::numeric_limits<double>::quiet_NaN() : clamp;
  return p;
}

int64_t unit_count(const BiasActParams& p) {
  const bool planar = p.units_per_row > 0;
  return planar ? p.rows * p.units_per_row : (p.rows + p.rows_per_unit - 1) / p.rows_per_unit;
}

// Runs `Element` over all units; with kSum also returns the sum of the output over each channel.
template <typename Element, typename T, int kGradients, bool kSum>
void launch(const Tensor& source, const Tensor* g, const Tensor* h, const Tensor* bias,
            const Tensor& out, const Tensor* channel_sums, const BiasActParams& p) {
  using A = acc_t<T>;
  const bool planar = p.units_per_row > 0;
  const int64_t units = unit_count(p);
  std::vector<A> sums(kSum ? units * (planar ? 1 : p.channels) : 0, A(0));
  const T* source_data = data<T>(source);
  const T* g_data = g == nullptr ? nullptr : data<T>(*g);
  const T* h_data = h == nullptr ? nullptr : data<T>(*h);
  const T* bias_data = bias == nullptr ? nullptr : data<T>(*bias);
  T* out_data = mutable_data<T>(out);
  A* sums_data = sums.data();
  const int64_t unit_elements = planar ? p.unit_size : p.rows_per_unit * p.channels;
  const int64_t grain = std::max<int64_t>(1, kUnit / std::max<int64_t>(unit_elements, 1));
  torch::stable::parallel_for(0, units, grain, [&](int64_t begin, int64_t end) {
    run<BiasActLoop<Element, T, kGradients, kSum>>(source_data, g_data, h_data, bias_data, out_data,
                                                   sums_data, begin, end, p);
  });
  if (!kSum) return;
  std::vector<double> totals(p.channels, 0.0);
  for (int64_t i = 0; i < static_cast<int64_t>(sums.size()); ++i) {
    totals[planar ? (i / p.units_per_row) % p.channels : i % p.channels] += sums[i];
  }
  T* target = mutable_data<T>(*channel_sums);
  for (int64_t c = 0; c < p.channels; ++c) target[c] = store<T>(static_cast<A>(totals[c]));
}

// Calls body.template operator()<Act>() for the activation named `act`.
template <typename Body>
void dispatch_act(const std::string& act, Body body) {
  if (act == "linear" || act == "lrelu") return body.template run<Piecewise>();
  if (act == "relu") return body.template run<Relu>();
  if (act == "tanh") return body.template run<Tanh>();
  if (act == "sigmoid") return body.template run<Sigmoid>();
  if (act == "elu" || act == "selu") return body.template run<Elu>();
  if (act == "softplus") return body.template run<Softplus>();
  if (act == "swish") return body.template run<Swish>();
  STD_TORCH_CHECK(false, "bias_act: unknown activation ", act);
}

const Tensor* pointer(const std::optional<Tensor>& tensor) { return tensor ? &*tensor : nullptr; }

struct ForwardBody {
  const Tensor &x, *bias, &y;
  const BiasActParams& p;
  template <template <typename> class Act>
  void run() {
    dispatch_dtype("bias_act", x.scalar_type(), [&](auto tag) {
      launch<ForwardOf<Act>, decltype(tag), 0, false>(x, nullptr, nullptr, bias, y, nullptr, p);
    });
  }
};

struct GradBody {
  const Tensor &ref, &grad_y, *bias, &grad_x, *sums;
  const BiasActParams& p;
  template <template <typename> class Act>
  void run() {
    dispatch_dtype("bias_act_grad", ref.scalar_type(), [&](auto tag) {
      using T = decltype(tag);
      launch<GradOf<Act>, T, 1, true>(ref, &grad_y, nullptr, bias, grad_x, sums, p);
    });
  }
};

struct Grad2Body {
  const Tensor &x, &grad_y, &grad_grad_x, *bias, &out;
  const BiasActParams& p;
  template <template <typename> class Act>
  void run() {
    dispatch_dtype("bias_act_grad2", x.scalar_type(), [&](auto tag) {
      launch<Grad2Of<Act>, decltype(tag), 2, false>(x, &grad_y, &grad_grad_x, bias, out, nullptr,
                                                    p);
    });
  }
};

Tensor bias_act(const Tensor& x_in, const std::optional<Tensor>& bias_in, int64_t dim,
                const std::string& act, double alpha, double gain, double clamp) {
  const Tensor x = dense(x_in);
  Tensor y = torch::stable::empty_like(x);
  if (x.numel() == 0) return y;
  std::optional<Tensor> bias;
  if (bias_in) bias = torch::stable::contiguous(*bias_in);
  const BiasActParams p = make_params(x, dim, act, alpha, gain, clamp);
  dispatch_act(act, ForwardBody{x, pointer(bias), y, p});
  return y;
}

std::tuple<Tensor, Tensor> bias_act_grad(const Tensor& grad_y_in, const Tensor& ref_in,
                                         const std::optional<Tensor>& bias_in, int64_t dim,
                                         const std::string& act, double alpha, double gain,
                                         double clamp, bool from_output, bool with_bias) {
  const Tensor ref = dense(ref_in);
  const int64_t channels = with_bias ? ref.size(dim) : 0;
  Tensor grad_x = torch::stable::empty_like(ref);
  Tensor sums = torch::stable::new_zeros(ref, {channels});
  if (ref.numel() == 0) return {grad_x, sums};
  const Tensor grad_y = in_layout_of(grad_y_in, ref);
  std::optional<Tensor> bias;
  if (bias_in) bias = torch::stable::contiguous(*bias_in);
  const BiasActParams p = make_params(ref, dim, act, alpha, gain, clamp);
  if (from_output) {
    dispatch_dtype("bias_act_grad", ref.scalar_type(), [&](auto tag) {
      using T = decltype(tag);
      if (with_bias) {
        launch<GradFromOutput, T, 1, true>(ref, &grad_y, nullptr, nullptr, grad_x, &sums, p);
      } else {
        launch<GradFromOutput, T, 1, false>(ref, &grad_y, nullptr, nullptr, grad_x, nullptr, p);
      }
    });
  } else {
    const Tensor scratch = with_bias ? sums : torch::stable::new_zeros(ref, {p.channels});
    dispatch_act(act, GradBody{ref, grad_y, pointer(bias), grad_x, &scratch, p});
  }
  return {grad_x, sums};
}

Tensor bias_act_grad2(const Tensor& grad_grad_x_in, const Tensor& grad_y_in, const Tensor& x_in,
                      const std::optional<Tensor>& bias_in, int64_t dim, const std::string& act,
                      double alpha, double gain, double clamp) {
  const Tensor x = dense(x_in);
  Tensor out = torch::stable::empty_like(x);
  if (x.numel() == 0) return out;
  const Tensor grad_grad_x = in_layout_of(grad_grad_x_in, x);
  const Tensor grad_y = in_layout_of(grad_y_in, x);
  std::optional<Tensor> bias;
  if (bias_in) bias = torch::stable::contiguous(*bias_in);
  const BiasActParams p = make_params(x, dim, act, alpha, gain, clamp);
  dispatch_act(act, Grad2Body{x, grad_y, grad_grad_x, pointer(bias), out, p});
  return out;
}

}  // namespace
}  // namespace fastgan::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cpp, m) {
  m.def(
      "bias_act(Tensor x, Tensor? bias, int dim, str act, float alpha, float gain, float clamp) -> "
      "Tensor");
  m.def(
      "bias_act_grad(Tensor grad_y, Tensor ref, Tensor? bias, int dim, str act, float alpha, "
      "float gain, float clamp, bool from_output, bool with_bias) -> (Tensor, Tensor)");
  m.def(
      "bias_act_grad2(Tensor grad_grad_x, Tensor grad_y, Tensor x, Tensor? bias, int dim, str act, "
      "float alpha, float gain, float clamp) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cpp, CPU, m) {
  m.impl("bias_act", TORCH_BOX(&fastgan::cpu::bias_act));
  m.impl("bias_act_grad", TORCH_BOX(&fastgan::cpu::bias_act_grad));
  m.impl("bias_act_grad2", TORCH_BOX(&fastgan::cpu::bias_act_grad2));
}
