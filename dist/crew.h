// Crew: the rank threads of one process, and the errors they ended with. Private to dist/.
#pragma once
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "dist/comm_group.h"
#include "dist/runtime.h"

namespace switchyard::dist {

struct Failure {
  int rank = 0;
  bool user = false;  // a UserError
  std::string what;
  std::exception_ptr error;
};

class Crew {
 public:
  // Starts the ranks that world->process carries. common: the Runtime, but for `world`.
  Crew(const std::shared_ptr<World>& world, const Runtime& common,
       const std::function<void(Runtime&)>& fn);
  void wait(std::chrono::milliseconds
                most);  // returns early when all ranks have ended or one has failed anew
  bool ended();
  std::vector<Failure> failures();  // in the order of time; Aborted ones are left out
  void join();

 private:
  void run_rank(const std::shared_ptr<CommGroup>& group, Runtime runtime,
                const std::function<void(Runtime&)>& fn, int rank);
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t running_ = 0, seen_failures_ = 0;
  std::vector<Failure> failures_;
  std::vector<std::thread> threads_;
};

}  // namespace switchyard::dist
