// What the synthesis engine knows of a layer without knowing the instruction set: shapes, the
// choice of an algorithm, what a call gets. The layers themselves are stamped (layers_stamped.h).
// No torch in here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/row_queue.h"
#include "engine/team.h"

namespace fastgan::engine {

// A 3x3 modulated convolution, with 2x upsampling or without.
struct LayerShape {
  int in_channels, out_channels;
  int height, width;  // of the input
  bool up;

  int out_height() const { return up ? 2 * height : height; }
  int out_width() const { return up ? 2 * width : width; }
};

// How threads share a layer.
enum class Split {
  kTeam,      // all transform a part of each batch of tiles, and compute a part of the channels
  kRows,      // each works on rows of its own, with all channels
  kChannels,  // each computes a part of the channels, from a transform of its own
};

inline constexpr const char* kSplits[] = {"team", "rows", "channels"};  // their names, in order

// How a layer is computed.
struct Choice {
  int tile = 1;  // outputs (conv) or inputs (up) of a tile along an axis: 1, 2 or 4
  Split split = Split::kTeam;
  int batch = 16;   // tiles whose transforms are in memory at a time
  int columns = 1;  // vectors of output channels that a product computes: 1 to 4
};

// What follows every convolution. The filter of upsampling is f0 (1, r, r, 1) along an axis.
struct Activation {
  float slope = 0.2f;
  float clamp = -1.0f;        // below 0: none
  float filter_ratio = 3.0f;  // r
};

// Images whose channels are vectors: [sample][channel block][row][column][lane], with a border that
// holds zeros. `data` is where the first pixel is; steps are in floats.
struct View {
  float* data = nullptr;
  size_t row = 0, plane = 0, image = 0;
  int mask = -1;  // 2^k - 1: a ring of 2^k rows, all that is kept of the image

  float* at(int n, int block, int y) const {
    return data + image * static_cast<size_t>(n) + plane * static_cast<size_t>(block) +
           static_cast<std::ptrdiff_t>(row) * (y & mask);
  }
};

// Told of output rows as soon as they are complete, by the thread that completed them.
class RowSink {
 public:
  virtual ~RowSink() = default;
  // Rows first..last - 1 of a sample; `rows` has row `first` at row 0. They are to be copied to
  // `around` around the caches, which has the same rows, unless it has no data.
  virtual void rows(int sample, int first, int last, const View& rows, const View& around) = 0;
};

// Seconds that a thread spent in the stages of a layer.
struct Stages {
  double input = 0, wait = 0, product = 0, output = 0;
};

struct Call {
  int thread, threads;
  Team* team;
  RowQueue* queue;
  int samples;
  View in, out;  // out.data null: rows only go to the sink, and the layer must be split by rows
  const float* styles;  // [sample][input channels, whole vectors]
  const float* scales;  // [sample][output channels, whole vectors]: demodulation and all gains
  const float* noise;   // [sample or 1][out_height][out_width], times strength and gain
  size_t noise_step;    // floats from sample to sample, 0: the same for all
  RowSink* sink;        // of layers split by rows, null: none
  float* scratch;       // scratch_floats(threads), the same for all threads
  Stages* stages;       // null: not measured
};

// Where a thread's run of neighbouring rows of one image began, for layers that keep rows.
struct RowRun {
  int sample = -1, start = 0;  // first row of tiles that went in
  int wanted = 0;              // first row of the output that came out
  int next = -1;               // row of tiles that goes on with it
};

class Layer {
 public:
  virtual ~Layer() = default;
  // Takes part in computing the layer; every thread of the team calls it. Rows written by others
  // may be read after a barrier only.
  virtual void run(const Call& call) = 0;

  // The same in steps, for layers split by rows: zeros round the output, then rows of tiles, of
  // all samples in one sequence, by a thread on its own.
  virtual void clear_border(const Call& call) const = 0;
  virtual void make_rows(const Call& call, RowRun& run, int begin, int end) const = 0;
  virtual int tile_rows() const = 0;      // of one image
  virtual int rows_per_tile() const = 0;  // of the output

  virtual size_t scratch_floats(int threads) const = 0;
  virtual size_t weight_bytes() const = 0;
  // Multiplications and additions of the products for one image, after minimal filtering.
  virtual double flops() const = 0;
  // Rows and columns of the input that are read beyond the last one of the image.
  virtual int input_overhang_rows() const = 0;
  virtual int input_overhang_columns() const = 0;
};

// Whether weights that do not fit a core's second-level cache had better not enter the third: on
// AMD's CPUs, where those of a frame push each other out of it (kernels.cpp).
bool far_weights_pass_by();

// Whether a core shuffles vectors beside its arithmetic, which AMD's do and Intel's, with one unit
// for both, do not.
bool shuffles_are_free();

inline int vectors(int channels, int lanes) { return (channels + lanes - 1) / lanes; }

}  // namespace fastgan::engine
