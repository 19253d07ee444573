// The multi-rank HMoE fixtures over MPI: mpirun -np P fixtures_mpi. All ranks of the largest file exist;
// each file runs on the first world_size of them, spread over the P processes.
#include <cstdio>

#include "dist/runtime.h"
#include "tests/moe/block_fixture.h"

using namespace switchyard;

int main(int argc, char** argv) {
  const std::vector<std::string> files = fixtures::files("hmoe_ranks");
  int failures = 0;
  const int code = dist::run_main(
      argc, argv,
      [&](std::vector<std::string>, int processes) {
        int ranks = processes;
        for (const std::string& path : files)
          ranks = std::max(ranks, int(fixtures::Fixture(path).opt("world_size", int64_t(1))));
        return dist::RunPlan{.ranks = ranks, .ranks_per_node = 0, .exit_code = {}};
      },
      [&](dist::Runtime& rt) {
        for (const std::string& path : files) {
          const fixtures::Fixture f(path);
          const bool member = rt.world.rank() < f.opt("world_size", int64_t(1));
          const dist::Comm comm = rt.world.split(member ? 0 : 1, rt.world.rank());
          int64_t wrong = 0;
          if (member)
            for (DType dtype : {DType::F64, DType::F32})
              for (const char* exchange : {"rows", "padded"})
                for (const std::string& line : moe::run_block_fixture(f, comm, dtype, exchange)) {
                  std::fprintf(stderr, "%s %s %s: %s\n", fixtures::test_name(path).c_str(),
                               name_of(dtype), exchange, line.c_str());
                  ++wrong;
                }
          wrong = rt.world.all_reduce(wrong, dist::Reduce::Sum);
          if (rt.leads_process()) failures += int(wrong);
          if (rt.world.rank() == 0)
            std::printf("%s: %s\n", fixtures::test_name(path).c_str(), wrong ? "FAILED" : "passed");
        }
      });
  return code != 0 ? code : failures != 0;
}
