// Time of the stages of a layer, measured only when somebody asks. No torch in here.
#pragma once

#include <chrono>

#include "engine/layer.h"

namespace fastgan::engine {

class StageClock {
 public:
  explicit StageClock(Stages* stages) : stages_(stages) {
    if (stages_ != nullptr) last_ = std::chrono::steady_clock::now();
  }
  // What passed since the last call goes to a stage.
  void lap(double Stages::* stage) {
    if (stages_ == nullptr) return;
    const auto now = std::chrono::steady_clock::now();
    stages_->*stage += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

 private:
  Stages* stages_;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace fastgan::engine
