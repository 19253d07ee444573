#include "moe/stats.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace switchyard::moe {

void count_round(ForwardContext& ctx, const Routed& routed, const DispatchPlan& plan, int64_t gate,
                 int64_t gates) {
  if (ctx.recomputing) return;
  const Routing& r = routed.routing;
  std::vector<double> choices[2], asked(2), over(2), entropy(2), rows(gates);
  for (auto& c : choices) c.resize(plan.kept.size());
  for (int64_t s = 0; s < r.rows(); ++s) {
    const int64_t begin = r.offsets.data<int64_t>()[s], end = r.offsets.data<int64_t>()[s + 1];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t e = r.expert.data<int64_t>()[i], j = std::min<int64_t>(i - begin, 1);
      choices[j][chosen(e)] += 1;
      asked[j] += e >= 0;
      over[j] += e >= 0 && plan.position.data<int64_t>()[i] < 0;
    }
  }
  FLOAT_DISPATCH(routed.probs.data().dtype(), T, {
    const T* p = routed.probs.data().data<T>();
    for (int64_t i = 0; i < routed.probs.data().numel(); ++i)
      if (p[i] > 0) entropy[0] -= double(p[i]) * std::log(double(p[i]));
  });
  entropy[1] = rows[gate] = double(r.rows());
  ctx.count("tokens_per_expert", std::vector<double>(plan.kept.begin(), plan.kept.end()));
  ctx.count("first_choices", choices[0]);
  ctx.count("second_choices", choices[1]);
  ctx.count("asked", asked);
  ctx.count("over_capacity", over);
  ctx.count("entropy", entropy);
  ctx.count("tokens_per_round", rows);
}

void count_rounds_per_token(ForwardContext& ctx, const std::vector<int64_t>& rounds) {
  if (ctx.recomputing) return;
  ctx.count("rounds", {double(std::accumulate(rounds.begin(), rounds.end(), int64_t(0))),
                       double(rounds.size())});
}

Share share_of(std::vector<double> choices, int64_t experts) {
  std::sort(choices.begin(), choices.end());
  const double all = std::accumulate(choices.begin(), choices.end(), 0.0);
  const double percent = all > 0 ? 100 / all : 0;
  experts = std::min(experts, int64_t(choices.size()));
  return {percent * std::accumulate(choices.end() - experts, choices.end(), 0.0),
          percent * std::accumulate(choices.begin(), choices.begin() + experts, 0.0),
          int64_t(std::count(choices.begin(), choices.end(), 0.0))};
}

MoeSummary summarize(const Statistics& statistics, const std::string& path) {
  const auto get = [&](const char* name, size_t size) {
    const auto it = statistics.find(path + "/" + name);
    return it == statistics.end() ? std::vector<double>(size) : it->second;
  };
  const auto ratio = [](double a, double b) { return b > 0 ? a / b : 0; };
  MoeSummary m;
  m.tokens_per_expert = get("tokens_per_expert", 0);
  m.first_choices = get("first_choices", 0);
  const auto asked = get("asked", 2), over = get("over_capacity", 2), entropy = get("entropy", 2),
             rounds = get("rounds", 2);
  m.dropped_percent = 100 * ratio(over[0] + over[1], asked[0] + asked[1]);
  for (int j = 0; j < 2; ++j) m.over_capacity_percent[j] = 100 * ratio(over[j], asked[j]);
  m.entropy = ratio(entropy[0], entropy[1]);
  m.mean_rounds = ratio(rounds[0], rounds[1]);
  const int64_t fifth = int64_t(std::ceil(0.2 * double(m.first_choices.size())));
  m.first = share_of(m.first_choices, fifth);
  m.second = share_of(get("second_choices", 0), fifth);
  return m;
}

}  // namespace switchyard::moe
