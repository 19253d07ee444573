// MPI calls, each checked.
#include "dist/mpi_bridge.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "dist/runtime.h"

namespace switchyard::dist {

void mpi_check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(concat(call, " failed: ", std::string(text, length)));
}

void MpiBridge::start() {
  // These variables of the usual launchers are looked at for detection only.
  by_mpirun = std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr;
  if (!by_mpirun && !std::getenv("PMIX_RANK") && !std::getenv("PMI_RANK")) return;
  int provided = 0;
#ifdef __SANITIZE_ADDRESS__
  const __lsan::ScopedDisabler not_ours;  // modules leak and are gone before anybody can name them
#endif
  mpi_check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
  started_ = true;
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  user_check(
      provided >= MPI_THREAD_SERIALIZED,
      concat("this MPI library (", mpi_version(), ") gives thread level ", provided,
             "; thread ranks need MPI_THREAD_SERIALIZED: use an MPI built with thread support"));
  mpi_check(MPI_Comm_size(MPI_COMM_WORLD, &processes), "MPI_Comm_size");
  mpi_check(MPI_Comm_rank(MPI_COMM_WORLD, &process), "MPI_Comm_rank");
  int* tag_ub = nullptr;
  int found = 0;
  mpi_check(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &tag_ub, &found), "MPI_Comm_get_attr");
  max_tag = *tag_ub;
}

void MpiBridge::abort(int code) {
  std::fflush(nullptr);
  const std::lock_guard lock(mutex_);
  if (started_) MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

// Large messages travel in pieces, as MPI counts in int.
constexpr int64_t kPiece = int64_t{1} << 30;  // bytes

void MpiBridge::send(int process, int tag, const std::byte* data, int64_t bytes,
                     InFlight& messages) {
  const std::lock_guard lock(mutex_);
  for (int64_t at = 0; at < bytes; at += kPiece)
    mpi_check(MPI_Isend(data + at, int(std::min(kPiece, bytes - at)), MPI_BYTE, process, tag,
                        MPI_COMM_WORLD, &messages.emplace_back()),
              "MPI_Isend");
}

void MpiBridge::receive(int process, int tag, std::byte* data, int64_t bytes, InFlight& messages) {
  const std::lock_guard lock(mutex_);
  for (int64_t at = 0; at < bytes; at += kPiece)
    mpi_check(MPI_Irecv(data + at, int(std::min(kPiece, bytes - at)), MPI_BYTE, process, tag,
                        MPI_COMM_WORLD, &messages.emplace_back()),
              "MPI_Irecv");
}

bool MpiBridge::finished(InFlight& messages) {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return false;  // who holds it moves our messages as well
  int done = 0;
  mpi_check(MPI_Testall(int(messages.size()), messages.data(), &done, MPI_STATUSES_IGNORE),
            "MPI_Testall");
  if (done) messages.clear();
  return done;
}

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  if (MPI_Get_library_version(text, &length) != MPI_SUCCESS) return "MPI";
  const std::string all(text, length);
  return all.substr(0, all.find_first_of(",\n"));  // "Open MPI v4.1.4"
}

}  // namespace switchyard::dist
