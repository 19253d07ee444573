// How thread ranks wait for each other.
// Memory order: a member writes its slot, then counts its arrival (release); who sees the count (acquire)
// sees the slot and everything before it.
#include "dist/comm_group.h"

#include <sched.h>

#include <thread>

#include "dist/tree_reduce.h"

namespace switchyard::dist {

void World::pause(int turn) const {
  const int spins = oversubscribed ? 30 : 1000, yields = 100;
  if (turn < spins) __builtin_ia32_pause();
  else if (turn < spins + yields) sched_yield();
  else std::this_thread::sleep_for(std::chrono::microseconds(20));
}

CommGroup::CommGroup(std::shared_ptr<World> w, std::vector<int> ranks)
    : world(std::move(w)), members(std::move(ranks)), slots(members.size()) {
  for (int m = 0; m < size(); ++m) {
    process_of.push_back(world->blocks.process_of(members[m]));
    members_of[process_of[m]].push_back(m);
  }
  const std::function<void(int, int)> cut = [&](int begin, int end) {
    const auto first = process_of.begin() + begin, last = process_of.begin() + end;
    if (std::count(first, last, *first) == end - begin) {
      subtrees.push_back({begin, end, *first});
      return;
    }
    const int middle = begin + tree_split(end - begin);
    cut(begin, middle);
    cut(middle, end);
  };
  cut(0, size());
  const int64_t pairs = int64_t(world->blocks.ranks) * world->blocks.ranks;
  const int64_t groups = world->bridge.max_tag / pairs;
  check(groups > 0, "too many ranks for MPI's tags");
  const std::string_view bytes(reinterpret_cast<const char*>(members.data()), 4 * members.size());
  first_tag_ = std::hash<std::string_view>()(bytes) % groups * pairs;
}

std::shared_ptr<CommGroup> CommGroup::of(const std::shared_ptr<World>& world,
                                         const std::vector<int>& members) {
  const std::lock_guard lock(world->mutex);
  std::weak_ptr<CommGroup>& known = world->groups[members];
  std::shared_ptr<CommGroup> group = known.lock();
  if (!group) known = group = std::make_shared<CommGroup>(world, members);
  return group;
}

void CommGroup::meet(int me) {
  // Only this thread changes its own counter.
  const uint64_t meeting = slots[me].arrived.load(std::memory_order_relaxed) + 1;
  slots[me].arrived.store(meeting, std::memory_order_release);
  for (int m : here()) {
    world->wait([&] { return slots[m].arrived.load(std::memory_order_acquire) >= meeting; });
  }
}

int CommGroup::tag(int from, int to) const {
  return int(first_tag_ + members[from] * world->blocks.ranks + members[to]);
}

}  // namespace switchyard::dist
