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

// These variables of the usual launchers are looked at for detection only.
bool MpiBridge::launched() {
  return launched_by_mpirun() || std::getenv("PMIX_RANK") || std::getenv("PMI_RANK");
}
bool MpiBridge::launched_by_mpirun() { return std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr; }

MpiBridge::MpiBridge(int argc, char** argv) {
  int provided = 0;
  mpi_check(MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  user_check(
      provided >= MPI_THREAD_SERIALIZED,
      concat("this MPI library (", mpi_version(), ") gives thread level ", provided,
             "; thread ranks need MPI_THREAD_SERIALIZED: use an MPI built with thread support"));
  mpi_check(MPI_Comm_size(MPI_COMM_WORLD, &processes_), "MPI_Comm_size");
  mpi_check(MPI_Comm_rank(MPI_COMM_WORLD, &process_), "MPI_Comm_rank");
  int* tag_ub = nullptr;
  int found = 0;
  mpi_check(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &tag_ub, &found), "MPI_Comm_get_attr");
  if (found) max_tag_ = *tag_ub;
}

void MpiBridge::abort(int code) {
  std::fflush(nullptr);
  const std::lock_guard lock(mutex_);
  MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

// Large messages travel in pieces, as MPI counts in int; both sides cut alike.
void MpiBridge::start(bool sends, int process, int tag, std::byte* data, int64_t bytes,
                      InFlight& messages) {
  constexpr int64_t kPiece = int64_t{1} << 30;  // bytes
  const std::lock_guard lock(mutex_);
  for (int64_t at = 0; at < bytes; at += kPiece) {
    const int size = int(std::min(kPiece, bytes - at));
    messages.expected.push_back(sends ? -1 : size);
    MPI_Request* request = &messages.requests.emplace_back(MPI_REQUEST_NULL);
    if (sends)
      mpi_check(MPI_Isend(data + at, size, MPI_BYTE, process, tag, MPI_COMM_WORLD, request),
                "MPI_Isend");
    else
      mpi_check(MPI_Irecv(data + at, size, MPI_BYTE, process, tag, MPI_COMM_WORLD, request),
                "MPI_Irecv");
  }
}

bool MpiBridge::finished(InFlight& messages) {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return false;  // who holds it moves our messages as well
  int done = 0;
  std::vector<MPI_Status> statuses(messages.requests.size());
  mpi_check(MPI_Testall(int(statuses.size()), messages.requests.data(), &done, statuses.data()),
            "MPI_Testall");
  if (!done) return false;
  for (size_t i = 0; i < statuses.size(); ++i) {
    int bytes = -1;
    if (messages.expected[i] >= 0) MPI_Get_count(&statuses[i], MPI_BYTE, &bytes);
    if (bytes != messages.expected[i])
      throw Error(concat("a message has ", bytes, " bytes where ", messages.expected[i],
                         " were expected: ranks disagree about a collective"));
  }
  messages = {};
  return true;
}

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  if (MPI_Get_library_version(text, &length) != MPI_SUCCESS) return "MPI";
  const std::string all(text, length);
  return all.substr(0, all.find_first_of(",\n"));  // "Open MPI v4.1.4"
}

}  // namespace switchyard::dist
