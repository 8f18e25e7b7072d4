// Names of activations, for the operators that have one.
#pragma once

#include <string>

#include "common/tensor.h"
#include "cuda/bias_act_functions.cuh"

namespace fastgan::cuda {

// The order of Activation.
constexpr const char* kActivations[] = {"linear", "relu", "lrelu",    "tanh", "sigmoid",
                                        "elu",    "selu", "softplus", "swish"};

inline Activation parse_activation(const char* op, const std::string& name) {
  for (int i = 0; i < 9; ++i) {
    if (name == kActivations[i]) return static_cast<Activation>(i);
  }
  STD_TORCH_CHECK(false, op, ": no activation named ", name);
}

}  // namespace fastgan::cuda
