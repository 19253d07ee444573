// Version, commit, compiler, instruction set, MPI, CUDA. CMake passes the first two and SWITCHYARD_CUDA.
#include "apps/common/version.h"

#include <cstdlib>

#include "dist/runtime.h"
#include "tensor/check.h"

#ifndef SWITCHYARD_VERSION
#define SWITCHYARD_VERSION "0.1"
#endif
#ifndef SWITCHYARD_COMMIT
#define SWITCHYARD_COMMIT "unknown"
#endif

namespace switchyard {
namespace {

// The matrix kernels choose by the same two questions (tensor/cpu/gemm).
const char* cpu_instruction_set() {
  const char* chosen = std::getenv("SWITCHYARD_ISA");
  if (chosen) return chosen;
  return __builtin_cpu_supports("avx512f") ? "avx512" : "avx2";
}

}  // namespace

std::string project_version() { return SWITCHYARD_VERSION; }

std::string version_text(const std::string& app) {
#ifdef SWITCHYARD_CUDA
  const char* cuda = "yes";
#else
  const char* cuda = "no";
#endif
  return concat(app, " (Switchyard ", project_version(), ")\n", "commit           ",
                SWITCHYARD_COMMIT, "\n", "compiler         GCC ", __VERSION__, "\n",
                "instruction set  ", cpu_instruction_set(), "\n", "MPI              ",
                dist::mpi_version(), "\n", "CUDA             ", cuda, "\n");
}

}  // namespace switchyard
