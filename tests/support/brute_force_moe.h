// The MoE layer as a double loop over tokens and choices, in double, with its gradients written out:
// the oracle for plan, exchange, grouped products and combine on any number of ranks.
//   y_s = sum_i w_i (W2_e relu(W1_e x_s + b1_e) + b2_e),  e = expert of choice i; dropped choices are absent
#pragma once
#include <cstdint>
#include <vector>

namespace switchyard::brute_force {

using Values = std::vector<double>;

struct Choice {
  int64_t token, expert;
  double weight;
};
struct Weights {  // [E, F, M], [E, F], [E, M, F], [E, M]
  Values w1, b1, w2, b2;
};
struct Result {
  Values y, dx, dweight;  // dweight: one for each choice
  Weights d;
};

// dy: gradient of the loss with respect to y [S, M]
inline Result moe(const Values& x, const std::vector<Choice>& choices, const Weights& p,
                  const Values& dy, int64_t M, int64_t F) {
  Result r{Values(x.size()),
           Values(x.size()),
           Values(choices.size()),
           {Values(p.w1.size()), Values(p.b1.size()), Values(p.w2.size()), Values(p.b2.size())}};
  for (size_t i = 0; i < choices.size(); ++i) {
    const auto& [s, e, w] = choices[i];
    Values h(F), dh(F);
    for (int64_t f = 0; f < F; ++f) {
      h[f] = p.b1[e * F + f];
      for (int64_t m = 0; m < M; ++m) h[f] += p.w1[(e * F + f) * M + m] * x[s * M + m];
    }
    for (int64_t m = 0; m < M; ++m) {
      double out = p.b2[e * M + m];
      for (int64_t f = 0; f < F; ++f) out += p.w2[(e * M + m) * F + f] * (h[f] > 0 ? h[f] : 0);
      const double g = dy[s * M + m];
      r.y[s * M + m] += w * out;
      r.dweight[i] += g * out;
      r.d.b2[e * M + m] += w * g;
      for (int64_t f = 0; f < F; ++f) {
        r.d.w2[(e * M + m) * F + f] += w * g * (h[f] > 0 ? h[f] : 0);
        dh[f] += w * g * p.w2[(e * M + m) * F + f];
      }
    }
    for (int64_t f = 0; f < F; ++f) {
      if (h[f] <= 0) continue;
      r.d.b1[e * F + f] += dh[f];
      for (int64_t m = 0; m < M; ++m) {
        r.d.w1[(e * F + f) * M + m] += dh[f] * x[s * M + m];
        r.dx[s * M + m] += dh[f] * p.w1[(e * F + f) * M + m];
      }
    }
  }
  return r;
}

}  // namespace switchyard::brute_force
