// Thread ranks: how they wait for each other and where they publish what others read in place.
// Memory order: a member writes its slot, then counts its arrival (release); who sees the count (acquire)
// sees the slot and everything before it.
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <thread>

#include "dist/comm_group.h"
#include "dist/tree_reduce.h"

namespace switchyard::dist {

std::shared_ptr<World> make_world(Blocks blocks, int process, Topology topology,
                                  std::shared_ptr<MpiBridge> bridge, bool oversubscribed) {
  auto world = std::make_shared<World>();
  world->blocks = blocks;
  world->process = process;
  world->topology = topology;
  world->bridge = std::move(bridge);
  world->oversubscribed = oversubscribed;
  world->meters.resize(blocks.size(process));
  world->next_context.assign(blocks.size(process), 1);
  return world;
}

void World::pause(int turn) const {
  const int spins = oversubscribed ? 30 : 1000, yields = 100;
  if (turn < spins) {
    __builtin_ia32_pause();
  } else if (turn < spins + yields) {
    sched_yield();
  } else {
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

CommGroup::CommGroup(std::shared_ptr<World> w, int64_t id, std::vector<int> ranks)
    : world(std::move(w)), context(id), members(std::move(ranks)), slots(members.size()) {
  std::map<int, std::vector<int>> by_process;
  for (int m = 0; m < size(); ++m) by_process[world->blocks.process_of(members[m])].push_back(m);
  host_of.resize(size());
  for (auto& [process, list] : by_process) {
    for (int m : list) host_of[m] = int(hosts.size());
    if (process == world->process) here = int(hosts.size());
    hosts.push_back({process, std::move(list)});
  }
  const std::function<void(int, int)> cut = [&](int begin, int end) {
    if (std::all_of(&host_of[begin], &host_of[begin] + (end - begin),
                    [&](int h) { return h == host_of[begin]; })) {
      subtrees.push_back({begin, end, host_of[begin]});
      return;
    }
    const int middle = begin + tree_split(end - begin);
    cut(begin, middle);
    cut(middle, end);
  };
  cut(0, size());
  const int64_t pairs = int64_t(world->blocks.largest()) * world->blocks.largest();
  if (world->bridge) {
    check((context + 1) * pairs <= world->bridge->max_tag(),
          "too many communicators for MPI's tags");
  }
}

void CommGroup::meet(int me) {
  // Only this thread changes its own counter.
  const uint64_t meeting = slots[me].arrived.load(std::memory_order_relaxed) + 1;
  slots[me].arrived.store(meeting, std::memory_order_release);
  for (int m : hosts[here].members) {
    world->wait([&] { return slots[m].arrived.load(std::memory_order_acquire) >= meeting; });
  }
}

int CommGroup::tag(int from, int to) const {
  const int64_t most = world->blocks.largest();
  return int((context * most + world->local_index(members[from])) * most +
             world->local_index(members[to]));
}

}  // namespace switchyard::dist
