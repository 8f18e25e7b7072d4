// One call of render: styles, then level by level.
#include <algorithm>
#include <chrono>

#include "engine/clock.h"
#include "engine/network.h"

namespace fastgan::engine {
namespace {

// Share `thread` of `count` things.
int share(int count, int thread, int threads) {
  return static_cast<int>(int64_t{count} * thread / threads);
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

void Network::map(int samples, const float* z, const float* c, int threads, float* w) {
  start_team(threads);
  mapping_->run(*team_, samples, z, c, w);
}

void Network::compute_styles(const Frame& frame, int thread) {
  auto run = [&](const Affine& affine, int w_index, float* styles, size_t step) {
    const int width = static_cast<int>(padded(settings_.w_dim));
    kernels_.affine(
        {affine.matrix.get(), width, share(affine.rows, thread, frame.threads),
         share(affine.rows, thread + 1, frame.threads), frame.ws + size_t(w_index) * width,
         frame.ws_step, frame.samples, styles, step},
        affine.bias.get(), 1.0f);
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
                         const View& rows, const View& around) const {
  const ImageStage& stage = images_[level];
  const int height = stage.shape.height, width = stage.shape.width, channels = stage.shape.channels;
  const bool is_last = level + 1 == images_.size();
  for (int y = first; y < last; ++y) {
    ImageRow row{};
    row.features = rows.at(0, 0, y - first);
    row.plane = rows.plane;
    if (around.data != nullptr) {
      row.around = around.at(0, 0, y - first), row.around_plane = around.plane;
    }
    row.modulated = stage.modulated.get() + stage.layer->modulated_floats() * sample;
    if (level > 0) {
      const ImageStage& below = images_[level - 1];
      row.near = below.row(sample, y / 2);
      row.far = below.row(sample, y % 2 == 0 ? y / 2 - 1 : y / 2 + 1);
      row.below_step = below.plane();
    }
    if (!is_last) {
      row.line = stage.row(sample, y), row.line_step = stage.plane();
    } else if (frame.bytes == nullptr) {
      row.line = frame.pixels + (size_t(sample) * channels * height + y) * width;
      row.line_step = size_t(height) * width;
    } else {
      row.bytes = frame.bytes + (size_t(sample) * height + y) * width * channels;
    }
    stage.layer->row(row);
  }
}

Call Network::call_of(const Frame& frame, size_t l, int thread, RowSink* sink) const {
  const ConvStage& conv = convs_[l];
  Call call{};
  call.thread = thread, call.threads = frame.threads, call.team = team_.get();
  call.queue = queue_.get();
  call.samples = frame.samples;
  call.in = l == 0 ? const_view_ : views_[l - 1], call.out = views_[l];
  call.styles = conv.styles.get(), call.scales = conv.scales.get();
  call.noise = frame.drawn ? drawn_noise_[l].get() : conv.noise.get();
  call.noise_step = frame.drawn ? conv.noise.size() : 0;
  call.sink = sink;
  call.scratch = scratch_.get();
  return call;
}

void Network::run_levels(const Frame& frame, int thread) {
  struct Sink final : RowSink {
    const Network* network;
    const Frame* frame;
    size_t level;
    void rows(int sample, int first, int last, const View& rows, const View& around) override {
      network->image_rows(*frame, level, sample, first, last, rows, around);
    }
  } sink;
  sink.network = this, sink.frame = &frame;
  const bool timed = frame.times != nullptr;
  for (size_t l = 0; l < convs_.size(); ++l) {
    const size_t up = l;
    const bool is_pair = pairs_[l] != nullptr;
    if (is_pair) ++l;
    const ConvStage& conv = convs_[l];
    const bool ends_level = l % 2 == 0;  // conv, then up and conv at every further level
    sink.level = l / 2;
    stages_[thread] = pair_stages_[thread] = Stages();
    const auto start = std::chrono::steady_clock::now();
    Call call = call_of(frame, l, thread, ends_level ? &sink : nullptr);
    call.stages = timed ? &stages_[thread] : nullptr;
    if (is_pair) {
      Call up_call = call_of(frame, up, thread, nullptr);
      up_call.stages = timed ? &pair_stages_[thread] : nullptr;
      pairs_[up]->run(up_call, call);
    } else {
      conv.layer->run(call);
    }
    StageClock clock(call.stages);
    team_->barrier();
    clock.lap(&Stages::wait);
    if (ends_level && conv.choice.split != Split::kRows) {
      const int height = conv.shape.out_height(), rows = frame.samples * height;
      for (int r = share(rows, thread, frame.threads); r < share(rows, thread + 1, frame.threads);
           ++r) {
        View view = views_[l];
        view.data = views_[l].at(r / height, 0, r % height);
        image_rows(frame, sink.level, r / height, r % height, r % height + 1, view, View());
      }
      team_->barrier();
    }
    if (!timed) continue;
    team_->barrier();  // the stages of all threads are known
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (thread == 0) is_pair ? record_pair(frame, up, seconds) : record(frame, l, seconds, stages_);
    team_->barrier();
  }
}

// The time of two layers, in the proportion of what the threads spent in each.
void Network::record_pair(const Frame& frame, size_t up, double seconds) const {
  const auto total = [](const std::vector<Stages>& stages) {
    double sum = 0;
    for (const Stages& s : stages) sum += s.input + s.wait + s.product + s.output;
    return sum;
  };
  const double first = total(pair_stages_), second = total(stages_);
  record(frame, up, seconds * first / (first + second), pair_stages_);
  record(frame, up + 1, seconds * second / (first + second), stages_);
}

void Network::record(const Frame& frame, size_t l, double seconds,
                     const std::vector<Stages>& stages) const {
  const ConvStage& conv = convs_[l];
  StageTime time;
  time.name = conv.name, time.algorithm = describe(conv.shape, conv.choice);
  time.stages = stages;
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

}  // namespace fastgan::engine
