// CommGroup: what the members of one communicator in one process share. Each has a slot where it publishes
// pointers; meet() is the rendezvous after which everybody may read them, in place. Private to dist/.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "dist/world.h"

namespace switchyard::dist {

class CommGroup {
 public:
  // The members of one process.
  struct Host {
    int process;
    std::vector<int> members;
  };
  // A part [begin, end) of the summation tree whose members all live in one process.
  struct Subtree {
    int begin, end, host;
  };
  struct alignas(64) Slot {
    std::atomic<uint64_t> arrived{0};  // number of meetings this member has come to
    const std::byte* data = nullptr;
    int64_t bytes = 0;
    const int64_t* offsets =
        nullptr;  // all_to_all_v: where the rows for each member begin, in bytes
    std::shared_ptr<CommGroup> child;  // split: the new group, made by its first member here
  };

  CommGroup(std::shared_ptr<World> world, int64_t context, std::vector<int> members);

  int size() const { return int(members.size()); }
  Level level(int a, int b) const { return world->topology.level(members[a], members[b]); }
  // The member in process `host` that stands for m: m itself where it lives, else one picked by m's number.
  int agent(int host, int m) const {
    const std::vector<int>& there = hosts[host].members;
    return host == host_of[m] ? m : there[m % there.size()];
  }
  // Waits until all members of this process have come to the same meeting.
  void meet(int me);
  int tag(int from, int to) const;  // of the messages between two members of different processes

  const std::shared_ptr<World> world;
  const int64_t context;           // tells this communicator's messages from others'
  const std::vector<int> members;  // world ranks
  std::vector<Host> hosts;         // by process
  std::vector<int> host_of;        // of each member
  int here = 0;                    // this process in hosts
  std::vector<Subtree>
      subtrees;             // the tree cut into the largest parts that one process can pre-add
  std::vector<Slot> slots;  // by member; only those of this process are used

  // Readers of other members' memory count themselves here. A member that leaves a collective by an
  // exception waits for them, because its memory dies with its stack; new readers see the poison first.
  std::atomic<int> readers{0};
};

}  // namespace switchyard::dist
