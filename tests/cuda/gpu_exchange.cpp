// A test program, `mpirun -np P gpu_exchange R GPUS`: collectives of R ranks in P processes on (emulated) GPUs, with
// messages of several pieces. Prints the way that the bytes went.
#include <cstdio>
#include <cstdlib>

#include "tests/cuda/collectives.h"

using namespace switchyard;

int main(int argc, char** argv) {
  return dist::run_main(
      argc, argv,
      [](std::vector<std::string> args, int) {
        setenv("EMULATED_GPUS", args.at(1).c_str(), 1);
        return dist::RunPlan{std::atoi(args.at(0).c_str()), 0, {}, "", "cuda"};
      },
      [](dist::Runtime& runtime) {
        const CollectivesOnGpu on_gpu(runtime);
        for (int64_t n : {0, 3, 1 << 18, (5 << 19) / 3})
          on_gpu.compare(n);  // up to 17 MB a message
        runtime.world.barrier();
        if (runtime.world.rank() == 0) std::printf("%s\n", runtime.gpu_way.c_str());
      });
}
