// Launchers of bias_act: checks, layout, threads, registration. The loops are in
// bias_act_kernel.h. Sums over a channel run in a fixed order, for any number of threads.
#include "cpu/bias_act_kernel.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/tensor.h"
#include "cpu/result_pool.h"
#include "cpu/stream.h"

namespace fastgan::cpu {
namespace {

constexpr int64_t kUnit = 16384;  // elements of a unit, about

Tensor dense(const Tensor& x) { return is_dense(x) ? x : torch::stable::contiguous(x); }

BiasActParams make_params(const Tensor& x, int64_t dim, const std::string& act, double alpha,
                          double gain, double clamp) {
  BiasActParams p{};
  const int64_t numel = std::max<int64_t>(x.numel(), 1);
  p.channels = x.dim() == 0 ? 1 : std::max<int64_t>(x.size(dim), 1);
  const int64_t inner = p.channels == 1 ? numel : x.stride(dim);
  if (inner == 1 && p.channels > 1) {
    p.row = p.channels;
    p.rows_per_unit = std::max<int64_t>(1, kUnit / p.channels);
  } else {
    p.row = inner;
    p.unit_size = std::min(inner, kUnit);
    p.units_per_row = (inner + p.unit_size - 1) / p.unit_size;
  }
  p.rows = numel / p.row;
  const bool selu = act == "selu";
  p.alpha = act == "linear" ? 1.0 : act == "relu" ? 0.0 : selu ? 1.6732632423543772 : alpha;
  if (act == "elu") p.alpha = 1.0;
  p.scale = selu ? 1.0507009873554805 : 1.0;
  p.gain = gain;
  p.limit = clamp < 0 ? std::numeric_limits<double>::quiet_NaN() : clamp;
  return p;
}

// One thread's view of the work: pieces pass through the loop, half types and streamed results by
// way of buffers of kPiece elements.
template <typename T>
class Worker {
 public:
  using A = acc_t<T>;
  static constexpr bool kConvert = !std::is_same_v<T, A>;

  Worker(const T* source, const T* g, const T* h, const T* bias, T* out, A* sums,
         BiasActFunction<A> function, const BiasActParams& p, bool stream)
      : source_(source),
        g_(g),
        h_(h),
        bias_(bias),
        out_(out),
        sums_(sums),
        function_(function),
        p_(p),
        stream_(stream && !kConvert),
        load_(variant<LoadLoop<T>, const T*, A*, int64_t>()),
        store_(pick_store(stream_)) {}

  void planar(int64_t unit) {
    const int64_t row = unit / p_.units_per_row;
    const int64_t first = (unit % p_.units_per_row) * p_.unit_size;
    const int64_t begin = row * p_.row + first;
    const int64_t end = begin + std::min(p_.row - first, p_.unit_size);
    const A value = bias_ == nullptr ? A(0) : load(bias_[row % p_.channels]);
    A unused;
    const int64_t size = stream_ ? kStreamPiece : kConvert ? kPiece : end - begin;
    for (int64_t i = begin; i < end; i += size) {
      piece(i, std::min(size, end - i), &value, sums_ == nullptr ? &unused : sums_ + unit);
    }
  }

  // Several pixels go through the loop at once, with the bias repeated: pixels of three channels
  // would leave the vectors empty.
  void channels_last(int64_t unit) {
    const int64_t first = unit * p_.rows_per_unit;
    const int64_t last = std::min(first + p_.rows_per_unit, p_.rows);
    for (int64_t c = 0; c < p_.channels; c += kPiece) {
      const int64_t size = std::min(kPiece, p_.channels - c);
      const int64_t pixels = size == p_.channels ? kPiece / size : 1;
      repeat_bias(c, size, pixels);
      if (sums_ != nullptr) std::fill_n(piece_sums_, pixels * size, A(0));
      for (int64_t row = first; row < last; row += pixels) {
        piece(row * p_.row + c, std::min(pixels, last - row) * size, repeated_bias_, piece_sums_);
      }
      if (sums_ == nullptr) continue;
      A* sums = sums_ + unit * p_.channels + c;
      for (int64_t pixel = 0; pixel < pixels; ++pixel) {
        for (int64_t i = 0; i < size; ++i) sums[i] += piece_sums_[pixel * size + i];
      }
    }
  }

 private:
  static constexpr int64_t kPiece = 1024;  // four float buffers fit the first-level cache
  // Around the caches: short pieces, so that loads of the next one begin while this one is stored.
  static constexpr int64_t kStreamPiece = 256;

  // repeated_bias_ = the biases of `size` channels from `c` on, `pixels` times: for all units of
  // this worker when that is every channel.
  void repeat_bias(int64_t c, int64_t size, int64_t pixels) {
    if (repeated_from_ == c) return;
    repeated_from_ = c;
    if (bias_ == nullptr) {
      std::fill_n(repeated_bias_, pixels * size, A(0));
      return;
    }
    for (int64_t i = 0; i < size; ++i) repeated_bias_[i] = load(bias_[c + i]);
    for (int64_t i = size; i < pixels * size; ++i) repeated_bias_[i] = repeated_bias_[i - size];
  }

  void piece(int64_t offset, int64_t size, const A* bias, A* sums) {
    const A* source = read(source_, offset, size, source_piece_);
    const A* g = g_ == nullptr ? nullptr : read(g_, offset, size, g_piece_);
    const A* h = h_ == nullptr ? nullptr : read(h_, offset, size, h_piece_);
    A* out = out_piece_;
    if constexpr (!kConvert) out = stream_ ? out_piece_ : out_ + offset;
    function_(source, g, h, bias, out, sums, size, p_.alpha, p_.scale, p_.gain, p_.limit);
    if (kConvert || stream_) store_(out, out_ + offset, size);
  }

  static auto pick_store(bool stream) -> void (*)(const A*, T*, int64_t) {
    if constexpr (!kConvert) {
      if (stream) return stream_copy_variant<T>();
    }
    return variant<StoreLoop<T>, const A*, T*, int64_t>();
  }

  const A* read(const T* from, int64_t offset, int64_t size, A* buffer) {
    if constexpr (kConvert) {
      load_(from + offset, buffer, size);
      return buffer;
    } else {
      return from + offset;
    }
  }

  const T *source_, *g_, *h_, *bias_;
  T* out_;
  A* sums_;
  BiasActFunction<A> function_;
  const BiasActParams p_;
  const bool stream_;
  void (*load_)(const T*, A*, int64_t);
  void (*store_)(const A*, T*, int64_t);
  A source_piece_[kConvert ? kPiece : 1], g_piece_[kConvert ? kPiece : 1];
  A h_piece_[kConvert ? kPiece : 1], out_piece_[kPiece];
  A repeated_bias_[kPiece], piece_sums_[kPiece];  // of channels_last
  int64_t repeated_from_ = -1;
};

template <typename T>
const T* data_or_null(const Tensor* tensor) {
  return tensor == nullptr ? nullptr : data<T>(*tensor);
}

// Runs `function` over all units; when channel_sums is given, it becomes the sum of the output
// over each channel.
template <typename T>
void launch(BiasActFunction<acc_t<T>> function, const Tensor& source, const Tensor* g,
            const Tensor* h, const Tensor* bias, const Tensor& out, const Tensor* channel_sums,
            const BiasActParams& p) {
  using A = acc_t<T>;
  const bool planar = p.units_per_row > 0;
  const int64_t units =
      planar ? p.rows * p.units_per_row : (p.rows + p.rows_per_unit - 1) / p.rows_per_unit;
  std::vector<A> sums(channel_sums == nullptr ? 0 : units * (planar ? 1 : p.channels), A(0));
  A* sums_data = channel_sums == nullptr ? nullptr : sums.data();
  const T *source_data = data<T>(source), *g_data = data_or_null<T>(g);
  const T *h_data = data_or_null<T>(h), *bias_data = data_or_null<T>(bias);
  T* out_data = mutable_data<T>(out);
  const bool stream = out.numel() * static_cast<int64_t>(sizeof(T)) > stream_bytes();
  const int64_t unit_elements = planar ? p.unit_size : p.rows_per_unit * p.channels;
  const int64_t grain = std::max<int64_t>(1, kUnit / std::max<int64_t>(unit_elements, 1));
  torch::stable::parallel_for(0, units, grain, [&](int64_t begin, int64_t end) {
    Worker<T> worker(source_data, g_data, h_data, bias_data, out_data, sums_data, function, p,
                     stream);
    for (int64_t unit = begin; unit < end; ++unit) {
      planar ? worker.planar(unit) : worker.channels_last(unit);
    }
    if (stream) finish_streaming();
  });
  if (channel_sums == nullptr) return;
  std::vector<double> totals(p.channels, 0.0);
  for (int64_t i = 0; i < static_cast<int64_t>(sums.size()); ++i) {
    totals[planar ? (i / p.units_per_row) % p.channels : i % p.channels] += sums[i];
  }
  T* target = mutable_data<T>(*channel_sums);
  for (int64_t c = 0; c < p.channels; ++c) target[c] = store<T>(static_cast<A>(totals[c]));
}

template <typename Element, typename A, bool kAlong>
BiasActFunction<A> pick() {
  return variant<BiasActLoop<Element, A, kAlong>, const A*, const A*, const A*, const A*, A*, A*,
                 int64_t, double, double, double, double>();
}

// launch() in the dtype of `source`.
template <typename Element>
void launch_dtype(const Tensor& source, const Tensor* g, const Tensor* h, const Tensor* bias,
                  const Tensor& out, const Tensor* channel_sums, const BiasActParams& p) {
  dispatch_dtype("bias_act", source.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    const auto function =
        p.units_per_row > 0 ? pick<Element, A, false>() : pick<Element, A, true>();
    launch<T>(function, source, g, h, bias, out, channel_sums, p);
  });
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
    launch_dtype<ForwardOf<Act>>(x, nullptr, nullptr, bias, y, nullptr, p);
  }
};

struct GradBody {
  const Tensor &ref, &grad_y, *bias, &grad_x, *sums;
  const BiasActParams& p;
  template <template <typename> class Act>
  void run() {
    launch_dtype<GradOf<Act>>(ref, &grad_y, nullptr, bias, grad_x, sums, p);
  }
};

struct Grad2Body {
  const Tensor &x, &grad_y, &grad_grad_x, *bias, &out;
  const BiasActParams& p;
  template <template <typename> class Act>
  void run() {
    launch_dtype<Grad2Of<Act>>(x, &grad_y, &grad_grad_x, bias, out, nullptr, p);
  }
};

void check_bias(const char* op, const Tensor& x, const std::optional<Tensor>& bias, int64_t dim) {
  if (x.dim() > 0) STD_TORCH_CHECK(dim >= 0 && dim < x.dim(), op, ": dim is out of range");
  if (bias) check_numel(op, "bias", *bias, x.scalar_type(), x.dim() == 0 ? 1 : x.size(dim));
}

Tensor bias_act(const Tensor& x_in, const std::optional<Tensor>& bias_in, int64_t dim,
                const std::string& act, double alpha, double gain, double clamp) {
  check_bias("bias_act", x_in, bias_in, dim);
  const Tensor x = dense(x_in);
  Tensor y = result_like(x);
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
  check_bias("bias_act_grad", ref_in, bias_in, dim);
  check_like("bias_act_grad", "grad_y", grad_y_in, ref_in);
  const Tensor ref = dense(ref_in);
  const int64_t channels = with_bias ? ref.size(dim) : 0;
  Tensor grad_x = result_like(ref);
  Tensor sums = torch::stable::new_zeros(ref, {channels});
  if (ref.numel() == 0) return {grad_x, sums};
  const Tensor grad_y = in_layout_of(grad_y_in, ref);
  std::optional<Tensor> bias;
  if (bias_in) bias = torch::stable::contiguous(*bias_in);
  const BiasActParams p = make_params(ref, dim, act, alpha, gain, clamp);
  const Tensor* target = with_bias ? &sums : nullptr;
  if (from_output) {
    launch_dtype<GradFromOutput>(ref, &grad_y, nullptr, nullptr, grad_x, target, p);
  } else {
    dispatch_act(act, GradBody{ref, grad_y, pointer(bias), grad_x, target, p});
  }
  return {grad_x, sums};
}

Tensor bias_act_grad2(const Tensor& grad_grad_x_in, const Tensor& grad_y_in, const Tensor& x_in,
                      const std::optional<Tensor>& bias_in, int64_t dim, const std::string& act,
                      double alpha, double gain, double clamp) {
  check_bias("bias_act_grad2", x_in, bias_in, dim);
  check_like("bias_act_grad2", "grad_y", grad_y_in, x_in);
  check_like("bias_act_grad2", "grad_grad_x", grad_grad_x_in, x_in);
  const Tensor x = dense(x_in);
  Tensor out = result_like(x);
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
