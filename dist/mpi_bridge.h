// MpiBridge: messages between processes; the only file pair that knows MPI. While ranks run, one lock admits
// one thread at a time (MPI_THREAD_SERIALIZED) and only to calls that return at once (Isend, Irecv, Test):
// a wait under the lock would keep another rank of this process from sending what the wait is for.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace switchyard::dist {

// Messages under way, started by one rank.
class InFlight {
 public:
  InFlight();
  ~InFlight();
  bool empty() const;

 private:
  friend class MpiBridge;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class MpiBridge {
 public:
  static bool launched();            // was this process started by mpirun, srun, ...?
  static bool launched_by_mpirun();  // by Open MPI's own launcher, which binds processes to cores
  MpiBridge(int argc, char** argv);  // starts MPI
  ~MpiBridge();

  int processes() const { return processes_; }
  int process() const { return process_; }
  int64_t max_tag() const { return max_tag_; }

  // Every process's string, in order. Blocks: only while no rank runs.
  std::vector<std::string> exchange(const std::string& mine);

  // Large messages travel in pieces; both sides cut alike.
  void send(int process, int tag, const void* data, int64_t bytes, InFlight& messages);
  void receive(int process, int tag, void* data, int64_t bytes, InFlight& messages);
  bool finished(InFlight& messages);  // have all arrived and left? Never waits.

  // Control messages to process 0: how a process ended. At most one from each.
  void report(const std::string& text);
  std::optional<std::string> next_report();  // process 0: one that has arrived

  void finalize();
  [[noreturn]] void abort(int code);  // ends all processes
  static std::string version();

 private:
  struct Reports;
  std::mutex mutex_;
  std::unique_ptr<Reports> reports_;
  int processes_ = 1, process_ = 0;
  int64_t max_tag_ = 0;
};

}  // namespace switchyard::dist
