// Rank threads: started together, ended one by one; the first error poisons the world.
#include "dist/crew.h"

#include <sys/prctl.h>

#include <numeric>

#include "tensor/parallel.h"

namespace switchyard::dist {

Crew::Crew(const std::shared_ptr<World>& world, const Runtime& common,
           const std::function<void(Runtime&)>& fn) {
  std::vector<int> members(world->blocks.ranks);
  std::iota(members.begin(), members.end(), 0);
  const auto group = std::make_shared<CommGroup>(world, 0, members);
  const int first = world->blocks.first_rank(world->process);
  running_ = world->blocks.size(world->process);
  for (int i = 0, n = int(running_); i < n; ++i) {
    threads_.emplace_back(
        [this, group, common, &fn, rank = first + i] { run_rank(group, common, fn, rank); });
  }
}

void Crew::run_rank(const std::shared_ptr<CommGroup>& group, Runtime runtime,
                    const std::function<void(Runtime&)>& fn, int rank) {
  std::optional<Failure> failure;
  try {
    prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);  // ns: short sleeps while waiting stay short
    set_num_threads(runtime.threads_per_rank);
    set_float_mode();
    runtime.world = Comm(group, rank);
    fn(runtime);
  } catch (const Aborted&) {
    // The rank that failed says why.
  } catch (const UserError& e) {
    failure = Failure{rank, true, e.what(), std::current_exception()};
  } catch (const std::exception& e) {
    failure = Failure{rank, false, e.what(), std::current_exception()};
  } catch (...) {
    failure = Failure{rank, false, "unknown exception", std::current_exception()};
  }
  if (failure) group->world->poison();
  const std::lock_guard lock(mutex_);
  if (failure) failures_.push_back(std::move(*failure));
  --running_;
  changed_.notify_all();
}

void Crew::wait(std::chrono::milliseconds most) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, most, [&] { return running_ == 0 || failures_.size() > seen_failures_; });
  seen_failures_ = failures_.size();
}

bool Crew::ended() {
  const std::lock_guard lock(mutex_);
  return running_ == 0;
}

std::vector<Failure> Crew::failures() {
  const std::lock_guard lock(mutex_);
  return failures_;
}

void Crew::join() {
  for (std::thread& t : threads_) t.join();
}

}  // namespace switchyard::dist
