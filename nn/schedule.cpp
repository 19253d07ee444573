#include "nn/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "nn/optimizer.h"

namespace switchyard {
void OptimConfig::validate() const {
  parse_betas(adam_betas);
  const std::pair<const char*, double> not_negative[] = {
      {"lr", lr},
      {"weight-decay", weight_decay},
      {"clip-norm", clip_norm},
      {"warmup-updates", double(warmup_updates)}};
  for (const auto& [name, value] : not_negative)
    user_check(std::isfinite(value) && value >= 0,
               concat("--", name, " is ", value, ": expected a number >= 0"));
  user_check(std::isfinite(adam_eps) && adam_eps > 0,
             concat("--adam-eps is ", adam_eps, ": expected a number > 0"));
  const bool has_end = lr_scheduler.starts_with("polynomial") || lr_scheduler == "cosine";
  user_check(!has_end || total_num_update > warmup_updates,
             concat("--total-num-update is ", total_num_update, ": --lr-scheduler ", lr_scheduler,
                    " needs more than the ", warmup_updates, " of --warmup-updates"));
}

double learning_rate(const OptimConfig& c, int64_t update) {
  const double u = double(update), warmup = double(c.warmup_updates);
  if (update < c.warmup_updates) {
    const double init = std::max(c.warmup_init_lr, 0.0);
    return init + u * (c.lr - init) / warmup;
  }
  if (c.lr_scheduler == "fixed") return c.lr;
  if (c.lr_scheduler == "inverse_sqrt")
    return c.lr * std::sqrt(std::max(warmup, 1.0) / std::max(u, 1.0));
  const double done = std::min(1.0, (u - warmup) / (double(c.total_num_update) - warmup));
  if (c.lr_scheduler == "cosine")
    return c.min_lr + (c.lr - c.min_lr) * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  return (c.lr - c.end_learning_rate) * std::pow(1.0 - done, c.power) + c.end_learning_rate;
}

}  // namespace switchyard
