// Version, commit (both from CMake), compiler, instruction set, MPI, CUDA.
#include "apps/common/version.h"

#include <cstdlib>

#include "dist/runtime.h"
#include "tensor/check.h"

namespace switchyard {

std::string project_version() { return SWITCHYARD_VERSION; }

std::string version_text(const std::string& app) {
  // the matrix kernels choose by the same two questions (tensor/cpu/matmul.cpp)
  const char* chosen = std::getenv("SWITCHYARD_ISA");
  const char* isa = chosen ? chosen : __builtin_cpu_supports("avx512f") ? "avx512" : "avx2";
#ifdef SWITCHYARD_CUDA
  const char* cuda = "yes";
#else
  const char* cuda = "no";
#endif
  return concat(app, " (Switchyard ", SWITCHYARD_VERSION, ")\ncommit           ", SWITCHYARD_COMMIT,
                "\ncompiler         GCC ", __VERSION__, "\ninstruction set  ", isa,
                "\nMPI              ", dist::mpi_version(), "\nCUDA             ", cuda, "\n");
}

}  // namespace switchyard
