// Bounds of the usual initial distributions. specs/hmoe.md 2.11.
#pragma once
#include <cmath>

#include "nn/module.h"

namespace switchyard {

// Xavier (Glorot & Bengio 2010): U(-a, a), a = gain sqrt(6 / (fan_in + fan_out))
inline Init xavier_uniform(int64_t fan_in, int64_t fan_out, double gain = 1.0) {
  return Init::uniform(gain * std::sqrt(6.0 / double(fan_in + fan_out)));
}
inline Init fan_in_uniform(int64_t fan_in) {
  return Init::uniform(1.0 / std::sqrt(double(fan_in)));
}

}  // namespace switchyard
