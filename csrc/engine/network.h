// StyleGAN2 synthesis (skip architecture) from styles to bytes: the order of the layers, the memory
// that they share, the threads. No torch in here.
#pragma once

#include <string>
#include <vector>

#include "engine/arena.h"
#include "engine/choice.h"
#include "engine/kernels.h"
#include "engine/mapping.h"
#include "engine/row_pair.h"

namespace fastgan::engine {

// y = matrix w + bias of one layer's style.
struct Affine {
  int rows = 0;
  Buffer<float> matrix, bias;  // [rows][w_dim in whole vectors]
};

// One convolution and what belongs to it.
struct ConvStage {
  std::string name;
  LayerShape shape;
  Choice choice;
  std::unique_ptr<Layer> layer;
  int w_index = 0;
  Affine affine;
  Buffer<float> energy;  // [out channels][in channels in whole vectors]: sums of squared taps
  Buffer<float> noise;   // [height][width], times strength and gain
  float noise_scale = 0;
  Buffer<float> styles, scales;  // [sample][channels in whole vectors]
  float gain = 1;                // of the output, without noise and bias
};

struct ImageStage {
  ImageShape shape;
  std::unique_ptr<ToImage> layer;
  int w_index = 0;
  Affine affine;
  Buffer<float> styles, modulated;
  // [sample][channel][row], but of the last level, with zeros above, below and between the rows.
  Buffer<float> image;
  size_t image_row = 0;  // floats from row to row

  size_t plane() const { return image_row * (shape.height + 2); }
  float* row(int sample, int y) const {
    const size_t border = image_row - shape.width;
    return image.get() + plane() * shape.channels * sample + image_row * (y + 1) + border;
  }
};

// What a call of render took, per stage.
struct StageTime {
  std::string name, algorithm;
  double seconds = 0;
  std::vector<Stages> stages;  // of each thread
  double flops = 0;
  size_t weight_bytes = 0, bytes = 0;
};

// Settings that hold for all layers.
struct Settings {
  int w_dim, num_ws;
  int channels;       // of the image
  int height, width;  // of the learned constant
  Activation activation;
  float gain;  // of the activation
  bool half_weights;
  int samples;  // images of most calls, which layers are chosen for
  // An image between an upsampling convolution and the next that is larger is never kept whole: the
  // two run row by row (row_pair.h). At 1024 pixels no slower, and 64 MB less for each sample.
  size_t pair_bytes = size_t{24} << 20;
};

class Network {
 public:
  Network(const Settings& settings, cpu::Isa isa);
  ~Network();

  void set_const(const float* values, int channels);
  // Weight [out][in][3][3], affine [in][w_dim]; noise [height][width], null: none. `choice` null:
  // the default for `threads` threads.
  void add_conv(const LayerShape& shape, const Choice* choice, int threads, int w_index,
                const float* weight, const float* bias, const float* affine,
                const float* affine_bias, const float* noise, float noise_strength);
  // Weight [channels][in]; the level's last.
  void add_image(int in_channels, int w_index, float clamp, const float* weight, const float* bias,
                 const float* affine, const float* affine_bias);

  // The mapping network, which is there or not, and which the caller fills.
  void set_mapping(int z_dim, int c_dim) {
    mapping_ = std::make_unique<Mapping>(kernels_, z_dim, c_dim);
  }
  Mapping* mapping() const { return mapping_.get(); }
  // z [samples][z_dim], c [samples][c_dim] -> w [samples][w_dim].
  void map(int samples, const float* z, const float* c, int threads, float* w);

  // ws [samples][num_ws][w_dim] -> bytes [samples][height][width][channels], or, where bytes is
  // null, pixels [samples][channels][height][width] before the conversion. `noise`: for each
  // convolution [samples][height][width] standard normal, null: the stored one.
  void render(int samples, const float* ws, const std::vector<const float*>* noise, int threads,
              uint8_t* bytes, float* pixels, std::vector<StageTime>* times);

  int lanes() const { return kernels_.lanes; }
  int out_height() const;
  int out_width() const;
  const Settings& settings() const { return settings_; }
  const std::vector<ConvStage>& convs() const { return convs_; }
  // Bytes of weights in the order of the kernels, and of everything else that is kept.
  size_t weight_bytes() const;
  size_t memory_bytes() const;
  size_t largest_activations_bytes() const;

 private:
  struct Frame;
  void start_team(int threads);
  void prepare(int samples, int threads);
  void set_affine(Affine& affine, int rows, const float* matrix, const float* bias);
  View view_of(size_t conv, bool output) const;
  void scale_noise(int samples, const std::vector<const float*>& noise);
  void compute_styles(const Frame& frame, int thread);
  void compute_scales(const Frame& frame, int thread);
  void run_levels(const Frame& frame, int thread);
  Call call_of(const Frame& frame, size_t conv, int thread, RowSink* sink) const;
  bool is_pair(size_t up) const;
  void share_buffers();
  void record(const Frame& frame, size_t conv, double seconds,
              const std::vector<Stages>& stages) const;
  void record_pair(const Frame& frame, size_t up, double seconds) const;
  void image_rows(const Frame& frame, size_t level, int sample, int first, int last,
                  const View& rows, const View& around) const;
  size_t padded(int channels) const;

  const Settings settings_;
  const Kernels& kernels_;
  View const_view_;
  Buffer<float> const_;
  std::vector<ConvStage> convs_;
  std::vector<ImageStage> images_;
  std::unique_ptr<Mapping> mapping_;
  // Grown by prepare: inputs and outputs of the convolutions in turn, scratch, latents.
  int samples_ = 0, threads_ = 0;
  Buffer<float> activations_[2], scratch_, ws_;
  std::vector<Buffer<float>> drawn_noise_;
  // Of each thread, in the layer that runs, or in the two of a pair.
  std::vector<Stages> stages_, pair_stages_;
  std::vector<View> views_;                      // output of each convolution
  std::vector<std::unique_ptr<RowPair>> pairs_;  // where a convolution is computed with the next
  std::unique_ptr<Team> team_;
  std::unique_ptr<RowQueue> queue_;
  int team_process_ = 0;
};

}  // namespace fastgan::engine
