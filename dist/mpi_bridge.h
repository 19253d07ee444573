// MpiBridge: messages between processes; the only files that know MPI. While ranks run, one lock admits one
// thread at a time (MPI_THREAD_SERIALIZED) and only to calls that return at once (Isend, Irecv, Test):
// a wait under the lock would keep another rank of this process from sending what the wait is for.
// Private to dist/.
#pragma once
#define OMPI_SKIP_MPICXX 1  // the C interface only
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include <cstdint>
#include <limits>
#include <mutex>
#include <vector>

namespace switchyard::dist {

void mpi_check(int code, const char* call);

class MpiBridge {
 public:
  MpiBridge() = default;  // one process, without MPI
  ~MpiBridge() {
    if (!started_) return;
#ifdef __SANITIZE_ADDRESS__
    __lsan_do_leak_check();  // while the modules that tools/lsan.supp names are still loaded
#endif
    MPI_Finalize();
  }
  void start();                       // MPI, if mpirun, srun, ... started this process
  [[noreturn]] void abort(int code);  // ends all processes

  bool by_mpirun = false;  // Open MPI's own launcher, which binds processes to cores
  int processes = 1, process = 0;
  int64_t max_tag = std::numeric_limits<int>::max();

  // Every process's value, in order. Blocks: only while no rank runs.
  template <class T>
  std::vector<T> all_gather(const T& mine) {
    std::vector<T> all(processes, mine);
    if (processes > 1)
      mpi_check(MPI_Allgather(&mine, sizeof(T), MPI_BYTE, all.data(), sizeof(T), MPI_BYTE,
                              MPI_COMM_WORLD),
                "MPI_Allgather");
    return all;
  }

  // Start a message and add it to those under way.
  using InFlight = std::vector<MPI_Request>;
  void send(int process, int tag, const std::byte* data, int64_t bytes, InFlight& messages);
  void receive(int process, int tag, std::byte* data, int64_t bytes, InFlight& messages);
  // Have all arrived and left? Never waits.
  bool finished(InFlight& messages);

 private:
  bool started_ = false;
  std::mutex mutex_;
};

}  // namespace switchyard::dist
