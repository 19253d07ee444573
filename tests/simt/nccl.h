// NCCL between thread ranks of one process, for the emulated GPU: messages wait in mailboxes until they are
// asked for. A message of an unexpected size ends the process.
#pragma once
#include <cuda_runtime.h>

struct ncclUniqueId {
  char internal[128];
};
using ncclComm_t = struct SimtComm*;
enum ncclResult_t { ncclSuccess = 0, ncclInvalidArgument = 4, ncclRemoteError = 6 };
enum ncclDataType_t { ncclInt8, ncclFloat, ncclDouble, ncclBfloat16 };
enum ncclRedOp_t { ncclSum };
struct ncclConfig_t {
  unsigned magic;
  int maxCTAs;
};
#define NCCL_CONFIG_INITIALIZER \
  { 0xcafebeef, -1 }

namespace simt {
extern std::atomic<bool> link_failed;  // what ncclCommGetAsyncError tells
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id);
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t* config);
ncclResult_t ncclCommDestroy(ncclComm_t comm);
inline ncclResult_t ncclCommAbort(ncclComm_t comm) { return ncclCommDestroy(comm); }
inline const char* ncclGetErrorString(ncclResult_t r) {
  return r == ncclSuccess ? "no error" : "emulated error";
}
inline ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* state) {
  return *state = simt::link_failed ? ncclRemoteError : ncclSuccess, ncclSuccess;
}
inline ncclResult_t ncclGroupStart() { return ncclSuccess; }
ncclResult_t ncclGroupEnd();
ncclResult_t ncclSend(const void* data, size_t count, ncclDataType_t, int peer, ncclComm_t,
                      cudaStream_t);
ncclResult_t ncclAllReduce(const void* in, void* out, size_t count, ncclDataType_t, ncclRedOp_t,
                           ncclComm_t, cudaStream_t);
ncclResult_t ncclRecv(void* data, size_t count, ncclDataType_t, int peer, ncclComm_t, cudaStream_t);
