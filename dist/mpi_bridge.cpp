// MPI calls, each checked.
#include "dist/mpi_bridge.h"

#define OMPI_SKIP_MPICXX 1  // the C interface only
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tensor/check.h"

namespace switchyard::dist {
namespace {

constexpr int64_t kPiece = int64_t{1} << 30;  // bytes; MPI counts are int
constexpr int kReportBytes = 2048;  // small enough to be sent without waiting for the receiver

void mpi_check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(concat(call, " failed: ", std::string(text, length)));
}

}  // namespace

struct InFlight::Impl {
  std::vector<MPI_Request> requests;
  std::vector<MPI_Status> statuses;
  std::vector<int> expected;  // bytes; -1: a send
};
InFlight::InFlight() = default;
InFlight::~InFlight() = default;
bool InFlight::empty() const { return !impl_ || impl_->requests.empty(); }

struct MpiBridge::Reports {
  MPI_Comm comm = MPI_COMM_NULL;  // their own, so that no rank's message can match
  std::vector<std::array<char, kReportBytes>>
      text;  // process 0: from each process; else: the own one
  std::vector<MPI_Request> requests;
};

// These variables of the usual launchers are looked at for detection only.
bool MpiBridge::launched() {
  return launched_by_mpirun() || std::getenv("PMIX_RANK") || std::getenv("PMI_RANK");
}
bool MpiBridge::launched_by_mpirun() { return std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr; }

MpiBridge::MpiBridge(int argc, char** argv) : reports_(std::make_unique<Reports>()) {
  int provided = 0;
  mpi_check(MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  user_check(
      provided >= MPI_THREAD_SERIALIZED,
      concat("this MPI library (", version(), ") gives thread level ", provided,
             "; thread ranks need MPI_THREAD_SERIALIZED: use an MPI built with thread support"));
  mpi_check(MPI_Comm_size(MPI_COMM_WORLD, &processes_), "MPI_Comm_size");
  mpi_check(MPI_Comm_rank(MPI_COMM_WORLD, &process_), "MPI_Comm_rank");
  int* tag_ub = nullptr;
  int found = 0;
  mpi_check(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &tag_ub, &found), "MPI_Comm_get_attr");
  max_tag_ = found ? *tag_ub : 32767;
  mpi_check(MPI_Comm_dup(MPI_COMM_WORLD, &reports_->comm), "MPI_Comm_dup");
  reports_->text.resize(process_ == 0 ? processes_ : 1);
  for (int p = 1; process_ == 0 && p < processes_; ++p) {
    reports_->requests.push_back(MPI_REQUEST_NULL);
    mpi_check(MPI_Irecv(reports_->text[p].data(), kReportBytes, MPI_BYTE, p, 0, reports_->comm,
                        &reports_->requests.back()),
              "MPI_Irecv");
  }
}

MpiBridge::~MpiBridge() = default;

std::vector<std::string> MpiBridge::exchange(const std::string& mine) {
  int bytes = int(mine.size());
  std::vector<int> sizes(processes_), offsets(processes_ + 1, 0);
  mpi_check(MPI_Allgather(&bytes, 1, MPI_INT, sizes.data(), 1, MPI_INT, MPI_COMM_WORLD),
            "MPI_Allgather");
  for (int p = 0; p < processes_; ++p) offsets[p + 1] = offsets[p] + sizes[p];
  std::string all(offsets.back(), '\0');
  mpi_check(MPI_Allgatherv(mine.data(), bytes, MPI_BYTE, all.data(), sizes.data(), offsets.data(),
                           MPI_BYTE, MPI_COMM_WORLD),
            "MPI_Allgatherv");
  std::vector<std::string> parts;
  for (int p = 0; p < processes_; ++p) parts.push_back(all.substr(offsets[p], sizes[p]));
  return parts;
}

void MpiBridge::send(int process, int tag, const void* data, int64_t bytes, InFlight& messages) {
  if (!messages.impl_) messages.impl_ = std::make_unique<InFlight::Impl>();
  InFlight::Impl& m = *messages.impl_;
  const std::lock_guard lock(mutex_);
  for (int64_t at = 0; at < bytes; at += kPiece) {
    m.expected.push_back(-1);
    m.requests.push_back(MPI_REQUEST_NULL);
    mpi_check(MPI_Isend(static_cast<const char*>(data) + at, int(std::min(kPiece, bytes - at)),
                        MPI_BYTE, process, tag, MPI_COMM_WORLD, &m.requests.back()),
              "MPI_Isend");
  }
}

void MpiBridge::receive(int process, int tag, void* data, int64_t bytes, InFlight& messages) {
  if (!messages.impl_) messages.impl_ = std::make_unique<InFlight::Impl>();
  InFlight::Impl& m = *messages.impl_;
  const std::lock_guard lock(mutex_);
  for (int64_t at = 0; at < bytes; at += kPiece) {
    m.expected.push_back(int(std::min(kPiece, bytes - at)));
    m.requests.push_back(MPI_REQUEST_NULL);
    mpi_check(MPI_Irecv(static_cast<char*>(data) + at, m.expected.back(), MPI_BYTE, process, tag,
                        MPI_COMM_WORLD, &m.requests.back()),
              "MPI_Irecv");
  }
}

bool MpiBridge::finished(InFlight& messages) {
  if (messages.empty()) return true;
  InFlight::Impl& m = *messages.impl_;
  int done = 0;
  {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return false;  // who holds it moves our messages as well
    m.statuses.resize(m.requests.size());
    mpi_check(MPI_Testall(int(m.requests.size()), m.requests.data(), &done, m.statuses.data()),
              "MPI_Testall");
    if (!done) return false;
    for (size_t i = 0; i < m.requests.size(); ++i) {
      int bytes = -1;
      if (m.expected[i] >= 0) MPI_Get_count(&m.statuses[i], MPI_BYTE, &bytes);
      if (bytes != m.expected[i]) {
        throw Error(concat("a message has ", bytes, " bytes where ", m.expected[i],
                           " were expected: ranks disagree about a collective"));
      }
    }
  }
  m.requests.clear();
  m.expected.clear();
  return true;
}

void MpiBridge::report(const std::string& text) {
  char* buffer = reports_->text[0].data();
  const size_t bytes = std::min<size_t>(text.size(), kReportBytes - 1);
  std::memcpy(buffer, text.data(), bytes);
  buffer[bytes] = '\0';
  const std::lock_guard lock(mutex_);
  reports_->requests.push_back(MPI_REQUEST_NULL);
  mpi_check(
      MPI_Isend(buffer, int(bytes + 1), MPI_BYTE, 0, 0, reports_->comm, &reports_->requests.back()),
      "MPI_Isend");
}

std::optional<std::string> MpiBridge::next_report() {
  int index = MPI_UNDEFINED, done = 0;
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return {};
  mpi_check(MPI_Testany(int(reports_->requests.size()), reports_->requests.data(), &index, &done,
                        MPI_STATUS_IGNORE),
            "MPI_Testany");
  if (!done || index == MPI_UNDEFINED) return {};
  return std::string(reports_->text[index + 1].data());
}

void MpiBridge::finalize() {
  for (MPI_Request& r : reports_->requests) {  // process 0, when the ranks were never started
    if (process_ == 0 && r != MPI_REQUEST_NULL) mpi_check(MPI_Cancel(&r), "MPI_Cancel");
  }
  mpi_check(
      MPI_Waitall(int(reports_->requests.size()), reports_->requests.data(), MPI_STATUSES_IGNORE),
      "MPI_Waitall");
  mpi_check(MPI_Comm_free(&reports_->comm), "MPI_Comm_free");
  mpi_check(MPI_Finalize(), "MPI_Finalize");
}

void MpiBridge::abort(int code) {
  std::fflush(nullptr);
  const std::lock_guard lock(mutex_);
  MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

std::string MpiBridge::version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  if (MPI_Get_library_version(text, &length) != MPI_SUCCESS) return "MPI";
  const std::string all(text, length);
  return all.substr(0, all.find_first_of(",\n"));  // "Open MPI v4.1.4"
}

}  // namespace switchyard::dist
