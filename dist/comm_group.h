// World: what the ranks of one process share. CommGroup: what the members of one communicator share in one
// process; each has a slot where it publishes its memory, and meet() is the rendezvous after which the others
// may read it in place. Both private to dist/.
// Read before: comm.h. Read next: collectives.cpp.
#pragma once
#include <atomic>

#include "dist/mesh.h"
#include "dist/mpi_bridge.h"

namespace switchyard::dist {

// R ranks in P contiguous blocks, as even as can be: process p carries the ranks r with floor(r P / R) = p.
struct Blocks {
  int ranks = 1, processes = 1;
  int process_of(int rank) const { return int(int64_t(rank) * processes / ranks); }
  int first_rank(int process) const {
    return int((int64_t(process) * ranks + processes - 1) / processes);
  }
  int size(int process) const { return first_rank(process + 1) - first_rank(process); }
};

struct World {
  Blocks blocks;
  int process;
  Topology topology;
  MpiBridge& bridge;
  bool oversubscribed;  // more ranks than CPUs: give the CPU away early when waiting

  std::atomic<bool> poisoned{false};       // a rank failed
  std::atomic<bool> nccl{false};           // every rank has a GPU of its own, and there is NCCL
  alignas(64) std::atomic<int> inside{0};  // ranks carried here that are inside a collective
  std::mutex mutex;                        // of groups
  std::map<std::vector<int>, std::weak_ptr<CommGroup>> groups;  // by members; see CommGroup::of

  // Waits until ready() is true: spins for a few microseconds, then yields, then sleeps, so that waiting
  // ranks leave the CPUs to those that compute. Throws Aborted when another rank failed.
  template <class Ready>
  void wait(const Ready& ready) const {
    for (int turn = 0; !ready(); ++turn) {
      if (poisoned) throw Aborted("another rank failed");
      pause(turn);
    }
  }
  void pause(int turn) const;
};

class CommGroup {
 public:
  // A part [begin, end) of the summation tree whose members all live in one process.
  struct Subtree {
    int begin, end, process;
  };
  struct alignas(64) Slot {
    std::atomic<uint64_t> arrived{0};  // number of meetings this member has come to
    const Parts* parts = nullptr;      // what it has for the others
    // On GPUs: its way to the others; and what it has for them, see shared_gpus.cpp.
    std::unique_ptr<cuda::PeerLink> link;
    const std::vector<cuda::PeerLink::Part>* messages = nullptr;
    cuda::Event ready, read;
  };

  CommGroup(std::shared_ptr<World> world, std::vector<int> members);
  // The one group of these world ranks, in this order, in this process: who comes first makes it.
  static std::shared_ptr<CommGroup> of(const std::shared_ptr<World>& world,
                                       const std::vector<int>& members);

  int size() const { return int(members.size()); }
  Level level(int a, int b) const { return world->topology.level(members[a], members[b]); }
  bool is_local(int m) const { return process_of[m] == world->process; }
  const std::vector<int>& here() const { return members_of.at(world->process); }
  // Who stands for m in a process: m itself where it lives, else a member picked by m's number.
  int agent(int m) const { return agent(m, world->process); }
  int agent(int m, int process) const {
    const std::vector<int>& there = members_of.at(process);
    return process == process_of[m] ? m : there[m % there.size()];
  }
  // Waits until all members of this process have come to the same meeting.
  void meet(int me);
  // Of the messages between two members. They arrive in the order they were sent, and all members call the
  // same collectives in the same order; that other groups have other tags makes mistakes visible.
  int tag(int from, int to) const;

  const std::shared_ptr<World> world;
  const std::vector<int> members;              // world ranks
  std::vector<int> process_of;                 // of each member
  std::map<int, std::vector<int>> members_of;  // by process
  // The tree cut into the largest parts that one process can add up by itself.
  std::vector<Subtree> subtrees;
  std::vector<Slot> slots;  // by member; only those of this process are used

 private:
  int64_t first_tag_ = 0;
};

}  // namespace switchyard::dist
