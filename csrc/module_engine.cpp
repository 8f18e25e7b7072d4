// The extension module fastgan._engine: the synthesis engine as a Python object. No torch in here:
// arrays come as numpy's.
#include <mutex>
#include <optional>

#include "engine/network.h"
#include "engine/time_choices.h"
#include "module_arguments.h"

namespace fastgan::engine {
namespace {

class PyNetwork {
 public:
  PyNetwork(int w_dim, int num_ws, int channels, Array constant, float slope, float gain,
            float clamp, float filter_ratio, bool half_weights, int samples, size_t pair_bytes,
            const std::string& isa)
      : network_(
            Settings{w_dim, num_ws, channels, static_cast<int>(constant.shape(1)),
                     static_cast<int>(constant.shape(2)), Activation{slope, clamp, filter_ratio},
                     gain, half_weights, samples, pair_bytes},
            parse_isa(isa)) {
    if (constant.ndim() != 3) throw std::invalid_argument("constant: expected [C, H, W]");
    if (channels < 1 || channels > 4) throw std::invalid_argument("expected 1 to 4 image channels");
    network_.set_const(constant.data(), static_cast<int>(constant.shape(0)));
    in_channels_ = static_cast<int>(constant.shape(0));
    height_ = static_cast<int>(constant.shape(1)), width_ = static_cast<int>(constant.shape(2));
  }

  void add_conv(Array weight, Array bias, Array affine, Array affine_bias,
                std::optional<Array> noise, float noise_strength, bool up, int w_index,
                std::optional<py::dict> choice, int threads) {
    const bool turn = network_.convs().size() % 2 == 1;  // conv, then up and conv in turn
    if (up != turn)
      throw std::invalid_argument(
          "expected convolutions in the order conv, up, conv, up, conv, ...");
    const int out = weight.ndim() == 4 ? static_cast<int>(weight.shape(0)) : 0;
    const LayerShape shape{in_channels_, out, height_, width_, up};
    const float* w = checked("weight", weight, {out, in_channels_, 3, 3});
    const float* noise_data =
        noise ? checked("noise", *noise, {shape.out_height(), shape.out_width()}) : nullptr;
    const Choice parsed = choice ? to_choice(*choice) : Choice{};
    network_.add_conv(shape, choice ? &parsed : nullptr, threads, checked_index(w_index), w,
                      checked("bias", bias, {out}),
                      checked("affine", affine, {in_channels_, network_.settings().w_dim}),
                      checked("affine_bias", affine_bias, {in_channels_}), noise_data,
                      noise_strength);
    in_channels_ = out, height_ = shape.out_height(), width_ = shape.out_width();
  }

  void add_image(Array weight, Array bias, Array affine, Array affine_bias, int w_index,
                 float clamp) {
    if (network_.convs().size() % 2 == 0 || images_ * 2 + 1 != network_.convs().size()) {
      throw std::invalid_argument("expected one image after the last convolution of each level");
    }
    const int channels = network_.settings().channels;
    network_.add_image(in_channels_, checked_index(w_index), clamp,
                       checked("weight", weight, {channels, in_channels_}),
                       checked("bias", bias, {channels}),
                       checked("affine", affine, {in_channels_, network_.settings().w_dim}),
                       checked("affine_bias", affine_bias, {in_channels_}));
    ++images_;
  }

  // Fully connected layers, from the embedding of labels (with c_dim) or the first one on: weights
  // [rows][columns], biases [rows].
  void set_mapping(int z_dim, int c_dim, const std::vector<Array>& weights,
                   const std::vector<Array>& biases, float slope) {
    const size_t first = c_dim > 0 ? 1 : 0;
    if (weights.size() <= first || weights.size() != biases.size()) {
      throw std::invalid_argument("mapping: expected weights and as many biases");
    }
    int columns = c_dim > 0 ? c_dim : z_dim;
    network_.set_mapping(z_dim, c_dim);
    for (size_t l = 0; l < weights.size(); ++l) {
      const int rows = weights[l].ndim() == 2 ? static_cast<int>(weights[l].shape(0)) : 0;
      network_.mapping()->add(rows, columns, l < first ? 1.0f : slope,
                              checked("weight", weights[l], {rows, columns}),
                              checked("bias", biases[l], {rows}));
      columns = l < first ? z_dim + rows : rows;
    }
    if (columns != network_.settings().w_dim) {
      throw std::invalid_argument("mapping: expected w_dim rows in the last layer");
    }
    has_mapping_ = true;
  }

  Array map(Array z, Array c, int threads) {
    if (!has_mapping_) throw std::invalid_argument("the network has no mapping");
    if (threads < 1) throw std::invalid_argument("threads: expected at least 1");
    const Mapping& mapping = *network_.mapping();
    const py::ssize_t samples = z.ndim() == 2 ? z.shape(0) : 0;
    const float* latents = checked("z", z, {samples, mapping.z_dim()});
    const float* labels = checked("c", c, {samples, mapping.c_dim()});
    Array w({samples, py::ssize_t{mapping.w_dim()}});
    float* to = w.mutable_data();
    py::gil_scoped_release release;
    std::lock_guard<std::mutex> lock(mutex_);  // it shares threads with frames
    network_.map(static_cast<int>(samples), latents, labels, threads, to);
    return w;
  }

  Bytes render(Array ws, std::optional<std::vector<Array>> noise, int threads) {
    const py::ssize_t samples = check(ws, threads);
    Bytes bytes({samples, py::ssize_t{network_.out_height()}, py::ssize_t{network_.out_width()},
                 py::ssize_t{network_.settings().channels}});
    run(ws, noise, threads, bytes.mutable_data(), nullptr, nullptr);
    return bytes;
  }

  // The image before it is turned into bytes, [N, C, H, W].
  Array render_pixels(Array ws, std::optional<std::vector<Array>> noise, int threads) {
    const py::ssize_t samples = check(ws, threads);
    Array pixels({samples, py::ssize_t{network_.settings().channels},
                  py::ssize_t{network_.out_height()}, py::ssize_t{network_.out_width()}});
    run(ws, noise, threads, nullptr, pixels.mutable_data(), nullptr);
    return pixels;
  }

  std::vector<py::dict> profile(Array ws, int threads) {
    std::vector<StageTime> times;
    const py::ssize_t samples = check(ws, threads);
    std::vector<uint8_t> bytes(size_t(samples) * network_.out_height() * network_.out_width() *
                               network_.settings().channels);
    run(ws, std::nullopt, threads, bytes.data(), nullptr, &times);
    std::vector<py::dict> rows;
    for (const StageTime& time : times) {
      py::dict row;
      row["name"] = time.name, row["algorithm"] = time.algorithm, row["seconds"] = time.seconds;
      py::list stages;
      for (const Stages& each : time.stages) {
        py::dict stage;
        stage["input"] = each.input, stage["wait"] = each.wait;
        stage["product"] = each.product, stage["output"] = each.output;
        stages.append(stage);
      }
      row["stages"] = stages;
      row["flops"] = time.flops, row["weight_bytes"] = time.weight_bytes;
      row["bytes"] = time.bytes;
      rows.push_back(row);
    }
    return rows;
  }

  py::dict memory() const {
    py::dict d;
    d["weights"] = network_.weight_bytes(), d["total"] = network_.memory_bytes();
    d["two_largest_activations"] = network_.largest_activations_bytes();
    return d;
  }

 private:
  int checked_index(int w_index) const {
    if (w_index < 0 || w_index >= network_.settings().num_ws) {
      throw std::invalid_argument("w_index: expected 0 to num_ws - 1, got " +
                                  std::to_string(w_index));
    }
    return w_index;
  }

  // The number of samples.
  py::ssize_t check(const Array& ws, int threads) const {
    if (images_ == 0 || images_ * 2 != network_.convs().size() + 1) {
      throw std::invalid_argument("the network is not complete: its last level has no image");
    }
    if (threads < 1) throw std::invalid_argument("threads: expected at least 1");
    const Settings& settings = network_.settings();
    const py::ssize_t samples = ws.ndim() == 3 ? ws.shape(0) : 0;
    checked("ws", ws, {samples, settings.num_ws, settings.w_dim});
    return samples;
  }

  void run(const Array& ws, const std::optional<std::vector<Array>>& noise, int threads,
           uint8_t* bytes, float* pixels, std::vector<StageTime>* times) {
    const py::ssize_t samples = ws.shape(0);
    if (samples == 0) return;
    std::vector<const float*> drawn;
    if (noise) {
      if (noise->size() != network_.convs().size()) {
        throw std::invalid_argument("noise: expected one array per convolution");
      }
      for (size_t l = 0; l < noise->size(); ++l) {
        const LayerShape& shape = network_.convs()[l].shape;
        drawn.push_back(
            checked("noise", (*noise)[l], {samples, shape.out_height(), shape.out_width()}));
      }
    }
    const float* w = ws.data();
    py::gil_scoped_release release;
    std::lock_guard<std::mutex> lock(mutex_);  // one frame at a time: they share memory
    network_.render(static_cast<int>(samples), w, noise ? &drawn : nullptr, threads, bytes, pixels,
                    times);
  }

  Network network_;
  std::mutex mutex_;
  int in_channels_ = 0, height_ = 0, width_ = 0;
  size_t images_ = 0;
  bool has_mapping_ = false;  // set when it is complete
};

std::vector<double> time_dicts(int in_channels, int out_channels, int height, int width, bool up,
                               const std::vector<py::dict>& choices, bool half, int threads,
                               int rounds, const std::string& isa) {
  const LayerShape shape = to_shape(in_channels, out_channels, height, width, up);
  const Kernels& kernels = kernels_of(parse_isa(isa));
  std::vector<Choice> parsed;
  for (const py::dict& d : choices) parsed.push_back(to_choice(d));
  py::gil_scoped_release release;
  return time_choices(kernels, shape, parsed, half, threads, rounds);
}

}  // namespace
}  // namespace fastgan::engine

PYBIND11_MODULE(_engine, m) {
  using namespace fastgan::engine;
  m.doc() = "StyleGAN2 synthesis on the CPU; see fastgan.Synthesizer.";
  py::class_<PyNetwork>(m, "Network", py::module_local())
      .def(py::init<int, int, int, Array, float, float, float, float, bool, int, size_t,
                    const std::string&>(),
           py::arg("w_dim"), py::arg("num_ws"), py::arg("channels"), py::arg("constant"),
           py::kw_only(), py::arg("slope"), py::arg("gain"), py::arg("clamp"),
           py::arg("filter_ratio"), py::arg("half_weights") = false, py::arg("samples") = 1,
           py::arg("pair_bytes") = Settings().pair_bytes, py::arg("isa") = "")
      .def("add_conv", &PyNetwork::add_conv, py::arg("weight"), py::arg("bias"), py::arg("affine"),
           py::arg("affine_bias"), py::kw_only(), py::arg("noise"), py::arg("noise_strength"),
           py::arg("up"), py::arg("w_index"), py::arg("choice") = py::none(), py::arg("threads"))
      .def("add_image", &PyNetwork::add_image, py::arg("weight"), py::arg("bias"),
           py::arg("affine"), py::arg("affine_bias"), py::kw_only(), py::arg("w_index"),
           py::arg("clamp"))
      .def("set_mapping", &PyNetwork::set_mapping, py::arg("z_dim"), py::arg("c_dim"),
           py::arg("weights"), py::arg("biases"), py::kw_only(), py::arg("slope"))
      .def("map", &PyNetwork::map, py::arg("z"), py::arg("c"), py::arg("threads"))
      .def("render", &PyNetwork::render, py::arg("ws"), py::arg("noise"), py::arg("threads"))
      .def("render_pixels", &PyNetwork::render_pixels, py::arg("ws"), py::arg("noise"),
           py::arg("threads"))
      .def("profile", &PyNetwork::profile, py::arg("ws"), py::arg("threads"))
      .def("memory", &PyNetwork::memory);
  m.def(
      "isa",
      [](const std::string& isa) {
        return fastgan::cpu::kIsaNames[static_cast<int>(parse_isa(isa))];
      },
      py::arg("isa") = "");
  m.def(
      "lanes", [](const std::string& isa) { return kernels_of(parse_isa(isa)).lanes; },
      py::arg("isa") = "");
  m.def(
      "default_choice",
      [](int i, int o, int h, int w, bool up, int threads, int samples, const std::string& isa) {
        return from_choice(default_choice(to_shape(i, o, h, w, up),
                                          kernels_of(parse_isa(isa)).lanes, threads, samples));
      },
      py::arg("in_channels"), py::arg("out_channels"), py::arg("height"), py::arg("width"),
      py::arg("up"), py::arg("threads"), py::arg("samples") = 1, py::arg("isa") = "");
  m.def(
      "candidates",
      [](int i, int o, int h, int w, bool up, int threads, const std::string& isa) {
        std::vector<py::dict> found;
        for (const Choice& c :
             candidates(to_shape(i, o, h, w, up), kernels_of(parse_isa(isa)).lanes, threads))
          found.push_back(from_choice(c));
        return found;
      },
      py::arg("in_channels"), py::arg("out_channels"), py::arg("height"), py::arg("width"),
      py::arg("up"), py::arg("threads"), py::arg("isa") = "");
  m.def("time_choices", &time_dicts, py::arg("in_channels"), py::arg("out_channels"),
        py::arg("height"), py::arg("width"), py::arg("up"), py::arg("choices"), py::arg("half"),
        py::arg("threads"), py::arg("rounds"), py::arg("isa") = "");
}
