#include "engine/network.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "engine/clock.h"

namespace fastgan::engine {
namespace {

// Share `thread` of `count` things.
int share(int count, int thread, int threads) {
  return static_cast<int>(int64_t{count} * thread / threads);
}

const char* const kSplits[] = {"team", "rows", "channels"};

std::string describe(const LayerShape& shape, const Choice& choice) {
  const std::string tile = std::to_string(choice.tile);
  std::string name = choice.tile == 1 ? "direct" : "F(" + tile + "x" + tile + ",3x3)";
  if (shape.up) name = choice.tile == 1 ? "up direct" : "up F(" + tile + "x" + tile + ")";
  return name + " " + kSplits[static_cast<int>(choice.split)] + ", batch " +
         std::to_string(choice.batch) + ", columns " + std::to_string(choice.columns);
}

}  // namespace

struct Network::Frame {
  int samples, threads;
  const float* ws;  // padded
  size_t ws_step;   // from sample to sample
  bool drawn;       // noise of drawn_noise_ instead of the stored one
  uint8_t* bytes;
  float* pixels;
  std::vector<StageTime>* times;
};

Network::Network(const Settings& settings, cpu::Isa isa)
    : settings_(settings), kernels_(kernels_of(isa)) {}

Network::~Network() {
  if (team_ && team_process_ != getpid()) team_.release();  // its threads are the parent's
}

size_t Network::padded(int channels) const {
  return static_cast<size_t>(vectors(channels, lanes())) * lanes();
}

int Network::out_height() const { return images_.back().shape.height; }
int Network::out_width() const { return images_.back().shape.width; }

void Network::set_const(const float* values, int channels) {
  const int height = settings_.height, width = settings_.width, border = 5;
  const_view_.row = size_t(width + border) * lanes();
  const_view_.plane = const_view_.row * (height + border);
  const_ = Buffer<float>(const_view_.plane * vectors(channels, lanes()));
  const_view_.data = const_.get() + const_view_.row + lanes();
  for (int c = 0; c < channels; ++c) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const_view_.at(0, c / lanes(), y)[x * lanes() + c % lanes()] =
            values[(size_t(c) * height + y) * width + x];
      }
    }
  }
}

void Network::set_affine(Affine& affine, int rows, const float* matrix, const float* bias) {
  const size_t width = padded(settings_.w_dim);
  affine.rows = rows;
  affine.matrix = Buffer<float>(rows * width);
  affine.bias = Buffer<float>(rows);
  std::copy(bias, bias + rows, affine.bias.get());
  for (int row = 0; row < rows; ++row) {
    const float* from = matrix + size_t(row) * settings_.w_dim;
    std::copy(from, from + settings_.w_dim, affine.matrix.get() + row * width);
  }
}

void Network::add_conv(const LayerShape& shape, const Choice* choice, int threads, int w_index,
                       const float* weight, const float* bias, const float* affine,
                       const float* affine_bias, const float* noise, float noise_strength) {
  ConvStage stage;
  stage.name = (shape.up ? "up " : "conv ") + std::to_string(shape.in_channels) + "->" +
               std::to_string(shape.out_channels) + " @" + std::to_string(shape.out_height()) +
               "x" + std::to_string(shape.out_width());
  stage.shape = shape;
  stage.choice = choice != nullptr ? *choice : default_choice(shape, lanes(), threads);
  if (!is_valid(stage.choice, shape, lanes())) {
    throw std::invalid_argument(stage.name + ": cannot be computed as " +
                                describe(shape, stage.choice));
  }
  stage.w_index = w_index;
  const float gain = settings_.gain, ratio = settings_.activation.filter_ratio;
  // Both axes of the filter have gain 2: taps 2 (1, r, r, 1) / (2 + 2 r).
  stage.gain = shape.up ? gain / ((1 + ratio) * (1 + ratio)) : gain;
  std::vector<float> scaled_bias(bias, bias + shape.out_channels);
  for (float& value : scaled_bias) value *= gain;
  stage.layer = kernels_.make_layer(shape, stage.choice, settings_.activation,
                                    settings_.half_weights, weight, scaled_bias.data());
  set_affine(stage.affine, shape.in_channels, affine, affine_bias);
  const size_t width = padded(shape.in_channels);
  stage.energy = Buffer<float>(shape.out_channels * width);
  for (int o = 0; o < shape.out_channels; ++o) {
    for (int i = 0; i < shape.in_channels; ++i) {
      const float* taps = weight + (size_t(o) * shape.in_channels + i) * 9;
      double sum = 0;
      for (int k = 0; k < 9; ++k) sum += double(taps[k]) * taps[k];
      stage.energy[o * width + i] = static_cast<float>(sum);
    }
  }
  const size_t pixels = size_t(shape.out_height()) * shape.out_width();
  stage.noise = Buffer<float>(pixels);
  stage.noise_scale = noise_strength * gain;
  for (size_t i = 0; noise != nullptr && i < pixels; ++i) {
    stage.noise[i] = noise[i] * stage.noise_scale;
  }
  convs_.push_back(std::move(stage));
}

void Network::add_image(int in_channels, int w_index, float clamp, const float* weight,
                        const float* bias, const float* affine, const float* affine_bias) {
  ImageStage stage;
  const LayerShape& conv = convs_.back().shape;
  stage.shape = {in_channels,
                 settings_.channels,
                 conv.out_height(),
                 conv.out_width(),
                 clamp,
                 settings_.activation.filter_ratio};
  stage.layer = kernels_.make_to_image(stage.shape, weight, bias);
  stage.w_index = w_index;
  set_affine(stage.affine, in_channels, affine, affine_bias);
  images_.push_back(std::move(stage));
}

// Memory for so many samples and threads. Layer l reads activations_[l odd] and writes the other.
void Network::prepare(int samples, int threads) {
  if (!team_ || team_->threads() != threads || team_process_ != getpid()) {
    if (team_ && team_process_ != getpid()) team_.release();
    team_ = std::make_unique<Team>(threads);
    queue_ = std::make_unique<RowQueue>(threads);
    team_process_ = getpid();
  }
  if (samples <= samples_ && threads == threads_) return;
  stages_.assign(threads, Stages());
  samples_ = std::max(samples, samples_), threads_ = threads;
  views_.assign(convs_.size(), View());
  size_t floats[2] = {0, 0}, scratch = 0;
  for (size_t l = 0; l < convs_.size(); ++l) {
    ConvStage& conv = convs_[l];
    const int height = conv.shape.out_height(), width = conv.shape.out_width();
    const Layer* reader = l + 1 < convs_.size() ? convs_[l + 1].layer.get() : nullptr;
    const int below = reader == nullptr ? 0 : std::max(reader->input_overhang_rows(), 1);
    const int right = reader == nullptr ? 0 : std::max(reader->input_overhang_columns(), 1);
    View& view = views_[l];
    view.row = size_t(1 + width + right) * lanes();
    view.plane = view.row * (1 + height + below);
    view.image = view.plane * vectors(conv.shape.out_channels, lanes());
    const bool kept = reader != nullptr || conv.choice.split != Split::kRows;
    if (kept) floats[l % 2] = std::max(floats[l % 2], view.image * samples_ + lanes());
    scratch = std::max(scratch, conv.layer->scratch_floats(threads));
    conv.styles = Buffer<float>(padded(conv.shape.in_channels) * samples_);
    conv.scales = Buffer<float>(padded(conv.shape.out_channels) * samples_);
  }
  for (int i = 0; i < 2; ++i)
    activations_[i] = Buffer<float>(), activations_[i] = Buffer<float>(floats[i]);
  for (size_t l = 0; l < convs_.size(); ++l) {
    const bool kept = l + 1 < convs_.size() || convs_[l].choice.split != Split::kRows;
    if (kept) views_[l].data = activations_[l % 2].get() + views_[l].row + lanes();
  }
  scratch_ = Buffer<float>(), scratch_ = Buffer<float>(scratch);
  for (ImageStage& image : images_) {
    const size_t pixels = size_t(image.shape.height) * image.shape.width;
    image.styles = Buffer<float>(padded(image.shape.in_channels) * samples_);
    image.modulated = Buffer<float>(image.layer->modulated_floats() * samples_);
    if (&image != &images_.back())
      image.image = Buffer<float>(pixels * settings_.channels * samples_);
  }
  lines_ = Buffer<float>(size_t(out_width()) * settings_.channels * threads);
  ws_ = Buffer<float>(size_t(settings_.num_ws) * padded(settings_.w_dim) * samples_);
}

void Network::scale_noise(int samples, const std::vector<const float*>& noise) {
  drawn_noise_.resize(convs_.size());
  for (size_t l = 0; l < convs_.size(); ++l) {
    const size_t count = convs_[l].noise.size() * samples;
    if (drawn_noise_[l].size() < count) drawn_noise_[l] = Buffer<float>(count);
    for (size_t i = 0; i < count; ++i) drawn_noise_[l][i] = noise[l][i] * convs_[l].noise_scale;
  }
}

void Network::render(int samples, const float* ws, const std::vector<const float*>* noise,
                     int threads, uint8_t* bytes, float* pixels, std::vector<StageTime>* times) {
  prepare(samples, threads);
  const size_t w_dim = settings_.w_dim, step = padded(settings_.w_dim);
  for (size_t i = 0; i < size_t(samples) * settings_.num_ws; ++i) {
    std::copy(ws + i * w_dim, ws + (i + 1) * w_dim, ws_.get() + i * step);
  }
  if (noise != nullptr) scale_noise(samples, *noise);
  const Frame frame{samples,          threads, ws_.get(), settings_.num_ws * step,
                    noise != nullptr, bytes,   pixels,    times};
  if (times != nullptr) times->clear();
  team_->run([&](int thread) {
    const auto start = std::chrono::steady_clock::now();
    compute_styles(frame, thread);
    team_->barrier();
    compute_scales(frame, thread);
    team_->barrier();
    if (thread == 0 && times != nullptr) {
      StageTime time;
      time.name = "styles", time.algorithm = "affine, demodulation";
      time.seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      for (const ConvStage& conv : convs_) {
        time.weight_bytes += conv.affine.matrix.bytes() + conv.energy.bytes();
        time.flops += 2.0 * samples * (conv.affine.matrix.size() + 1.5 * conv.energy.size());
      }
      for (const ImageStage& image : images_) {
        time.weight_bytes += image.affine.matrix.bytes();
        time.flops += 2.0 * samples * image.affine.matrix.size();
      }
      time.bytes = time.weight_bytes;
      times->push_back(time);
    }
    run_levels(frame, thread);
  });
}

void Network::compute_styles(const Frame& frame, int thread) {
  auto run = [&](const Affine& affine, int w_index, float* styles, size_t step) {
    const int width = static_cast<int>(padded(settings_.w_dim));
    kernels_.affine(
        {affine.matrix.get(), width, share(affine.rows, thread, frame.threads),
         share(affine.rows, thread + 1, frame.threads), frame.ws + size_t(w_index) * width,
         frame.ws_step, frame.samples, styles, step},
        affine.bias.get());
  };
  for (ConvStage& conv : convs_) {
    run(conv.affine, conv.w_index, conv.styles.get(), padded(conv.shape.in_channels));
  }
  for (ImageStage& image : images_) {
    run(image.affine, image.w_index, image.styles.get(), padded(image.shape.in_channels));
  }
}

void Network::compute_scales(const Frame& frame, int thread) {
  for (ConvStage& conv : convs_) {
    const int rows = conv.shape.out_channels;
    const size_t width = padded(conv.shape.in_channels);
    kernels_.demodulate({conv.energy.get(), static_cast<int>(width),
                         share(rows, thread, frame.threads), share(rows, thread + 1, frame.threads),
                         conv.styles.get(), width, frame.samples, conv.scales.get(), padded(rows)},
                        conv.gain);
  }
  for (size_t i = thread; i < images_.size(); i += frame.threads) {
    for (int n = 0; n < frame.samples; ++n) {
      images_[i].layer->modulate(
          images_[i].styles.get() + padded(images_[i].shape.in_channels) * n,
          images_[i].modulated.get() + images_[i].layer->modulated_floats() * n);
    }
  }
}

void Network::image_rows(const Frame& frame, size_t level, int sample, int first, int last,
                         const View& rows, float* line) const {
  const ImageStage& stage = images_[level];
  const int height = stage.shape.height, width = stage.shape.width, channels = stage.shape.channels;
  const bool is_last = level + 1 == images_.size();
  const size_t pixels = size_t(height) * width;
  for (int y = first; y < last; ++y) {
    ImageRow row{};
    row.features = rows.at(0, 0, y - first);
    row.plane = rows.plane;
    row.modulated = stage.modulated.get() + stage.layer->modulated_floats() * sample;
    if (level > 0) {
      const float* below = images_[level - 1].image.get() + pixels / 4 * channels * sample;
      const int near = y / 2, far = y % 2 == 0 ? near - 1 : near + 1;
      row.near = below + size_t(near) * (width / 2);
      row.far = far < 0 || far >= height / 2 ? nullptr : below + size_t(far) * (width / 2);
      row.below_step = pixels / 4;
    }
    if (is_last && frame.bytes == nullptr) {
      row.line = frame.pixels + (size_t(sample) * channels * height + y) * width;
      row.line_step = pixels;
    } else if (is_last) {
      row.line = line, row.line_step = width;
      row.bytes = frame.bytes + (size_t(sample) * height + y) * width * channels;
    } else {
      row.line = stage.image.get() + (size_t(sample) * channels * height + y) * width;
      row.line_step = pixels;
    }
    stage.layer->row(row);
  }
}

void Network::run_levels(const Frame& frame, int thread) {
  struct Sink final : RowSink {
    const Network* network;
    const Frame* frame;
    size_t level;
    float* line;
    void rows(int sample, int first, int last, const View& rows) override {
      network->image_rows(*frame, level, sample, first, last, rows, line);
    }
  } sink;
  sink.network = this, sink.frame = &frame;
  sink.line = lines_.get() + size_t(out_width()) * settings_.channels * thread;
  const bool timed = frame.times != nullptr;
  for (size_t l = 0; l < convs_.size(); ++l) {
    const ConvStage& conv = convs_[l];
    const bool ends_level = l % 2 == 0;  // conv, then up and conv at every further level
    sink.level = l / 2;
    Stages& stages = stages_[thread];
    stages = Stages();
    const auto start = std::chrono::steady_clock::now();
    Call call{};
    call.thread = thread, call.threads = frame.threads, call.team = team_.get();
    call.queue = queue_.get();
    call.samples = frame.samples;
    call.in = l == 0 ? const_view_ : views_[l - 1], call.out = views_[l];
    call.styles = conv.styles.get(), call.scales = conv.scales.get();
    call.noise = frame.drawn ? drawn_noise_[l].get() : conv.noise.get();
    call.noise_step = frame.drawn ? conv.noise.size() : 0;
    call.sink = ends_level ? &sink : nullptr;
    call.scratch = scratch_.get();
    call.stages = timed ? &stages : nullptr;
    conv.layer->run(call);
    StageClock clock(call.stages);
    team_->barrier();
    clock.lap(&Stages::wait);
    if (ends_level && conv.choice.split != Split::kRows) {
      const int height = conv.shape.out_height(), rows = frame.samples * height;
      for (int r = share(rows, thread, frame.threads); r < share(rows, thread + 1, frame.threads);
           ++r) {
        View view = views_[l];
        view.data = views_[l].at(r / height, 0, r % height);
        image_rows(frame, sink.level, r / height, r % height, r % height + 1, view, sink.line);
      }
      team_->barrier();
    }
    if (!timed) continue;
    team_->barrier();  // the stages of all threads are known
    if (thread == 0)
      record(frame, l,
             std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    team_->barrier();
  }
}

void Network::record(const Frame& frame, size_t l, double seconds) const {
  const ConvStage& conv = convs_[l];
  StageTime time;
  time.name = conv.name, time.algorithm = describe(conv.shape, conv.choice);
  time.stages = stages_;
  time.seconds = seconds;
  time.flops = conv.layer->flops() * frame.samples;
  time.weight_bytes = conv.layer->weight_bytes();
  const double in = double(conv.shape.in_channels) * conv.shape.height * conv.shape.width;
  const double out =
      double(conv.shape.out_channels) * conv.shape.out_height() * conv.shape.out_width();
  time.bytes = time.weight_bytes + size_t((in + out) * 4 * frame.samples);
  if (l % 2 == 0) {
    const ImageStage& image = images_[l / 2];
    time.name += " + image";
    time.flops += 2.0 * out / conv.shape.out_channels * image.shape.in_channels *
                  image.shape.channels * frame.samples;
  }
  frame.times->push_back(time);
}

size_t Network::weight_bytes() const {
  size_t bytes = const_.bytes();
  for (const ConvStage& conv : convs_) {
    bytes += conv.layer->weight_bytes() + conv.affine.matrix.bytes() + conv.energy.bytes() +
             conv.noise.bytes();
  }
  for (const ImageStage& image : images_) {
    bytes += image.layer->weight_bytes() + image.affine.matrix.bytes();
  }
  return bytes;
}

size_t Network::memory_bytes() const {
  size_t bytes = weight_bytes() + scratch_.bytes() + lines_.bytes() + ws_.bytes();
  for (const Buffer<float>& buffer : activations_) bytes += buffer.bytes();
  for (const ImageStage& image : images_) bytes += image.image.bytes() + image.modulated.bytes();
  return bytes;
}

size_t Network::largest_activations_bytes() const {
  std::vector<size_t> bytes;
  for (const ConvStage& conv : convs_) {
    bytes.push_back(size_t(4) * conv.shape.out_channels * conv.shape.out_height() *
                    conv.shape.out_width());
  }
  std::sort(bytes.rbegin(), bytes.rend());
  return bytes[0] + (bytes.size() > 1 ? bytes[1] : 0);
}

}  // namespace fastgan::engine
