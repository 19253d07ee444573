// Start and end of a run: MPI, the thread ranks, error semantics, signals, CPU binding.
// run_main(argc, argv, plan, rank_main): starts MPI (MPI_THREAD_SERIALIZED, checked), calls `plan` once in
// each process to parse flags (it returns the number of ranks, or an exit code to stop with), then runs
// rank_main on every rank's thread. An exception in any rank releases the other ranks of its process, prints
// "[rank 3/16] why" once and ends every process (MPI_Abort): exit code 2 for UserError, 1 otherwise.
#pragma once
#include <atomic>
#include <optional>

#include "dist/mesh.h"

namespace switchyard::dist {

// What a rank knows about where it runs. A value, handed down from run_main.
struct Runtime {
  Comm world;  // all R ranks
  Topology topology;
  int processes = 1;  // P: for the banner and for writing files only, never for arithmetic
  int process = 0;    // which process carries this rank
  int threads_per_rank = 1;
  int cpus = 1;                 // usable by this process
  Device device = Device::CPU;  // where this rank's tensors belong
  std::string gpu_way;  // how bytes go between the ranks' GPUs, for the banner; "" on the CPU
  bool leads_process() const;  // first rank of its process
  int process_of(int rank) const;
  // The stop flag of design 8: 0, or the number of the first signal received by this process
  const std::atomic<int>* signal = nullptr;
};

// What the process decided after reading its flags.
struct RunPlan {
  int ranks = 0;                 // R; 0 = one rank for each process
  int ranks_per_node = 0;        // 0 = from the machine
  std::optional<int> exit_code;  // set: do not run (--help, --version), end with this code
  std::string text = "";         // what is printed once before all end so
  std::string device = "cpu";    // or cuda, or auto: cuda where there is a GPU
};

int run_main(int argc, char** argv,
             const std::function<RunPlan(std::vector<std::string> args, int processes)>& plan,
             const std::function<void(Runtime&)>& rank_main);

// Thread ranks in this process without MPI, for tests: runs fn on R ranks and rethrows the first error.
void run_ranks(int ranks, const std::function<void(Runtime&)>& fn, int ranks_per_node = 0,
               const std::string& device = "cpu");

std::string mpi_version();  // for --version
std::string host_name();

}  // namespace switchyard::dist
