// World: what the ranks of one process share: who carries which rank, the MPI bridge, the poison flag.
// Made by run_main or run_ranks and handed down by shared_ptr; private to dist/.
// Read before: comm.h. Read next: comm_group.h.
#pragma once
#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "dist/comm.h"
#include "dist/mesh.h"
#include "dist/mpi_bridge.h"

namespace switchyard::dist {

// R ranks in P contiguous blocks; the first R % P processes carry one rank more.
struct Blocks {
  int ranks = 1, processes = 1;
  int first_rank(int process) const {
    return process * (ranks / processes) + std::min(process, ranks % processes);
  }
  int size(int process) const { return first_rank(process + 1) - first_rank(process); }
  int largest() const { return (ranks + processes - 1) / processes; }
  int process_of(int rank) const {
    const int small = ranks / processes, more = ranks % processes;
    return rank < more * (small + 1) ? rank / (small + 1) : (rank - more) / small;
  }
};

struct World {
  Blocks blocks;
  int process = 0;
  Topology topology;
  std::shared_ptr<MpiBridge> bridge;  // null with one process
  bool oversubscribed = false;        // more ranks than CPUs: give the CPU away early when waiting
  std::atomic<bool> poisoned{false};
  std::vector<CommMeter> meters;  // of the ranks carried here
  // The smallest communicator id that each rank carried here has not seen yet; see Comm::split.
  std::vector<int64_t> next_context;

  int local_index(int rank) const { return rank - blocks.first_rank(blocks.process_of(rank)); }
  void poison() { poisoned = true; }

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

std::shared_ptr<World> make_world(Blocks blocks, int process, Topology topology,
                                  std::shared_ptr<MpiBridge> bridge, bool oversubscribed);

}  // namespace switchyard::dist
