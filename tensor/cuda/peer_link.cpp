// PeerLink over NCCL: one communicator for each group of ranks.
#include "tensor/cuda/context.h"

#if !defined(SWITCHYARD_WITHOUT_NCCL)
#include <nccl.h>

#define NCCL_CHECK(call) ::switchyard::cuda::check_nccl((call), #call)

namespace switchyard::cuda {
namespace {

void check_nccl(ncclResult_t status, const char* call) {
  if (status != ncclSuccess)
    throw Error(concat("NCCL: ", ncclGetErrorString(status), " in ", call));
}

ncclDataType_t nccl_type(DType t) {
  if (t == DType::F64) return ncclDouble;
  if (t == DType::BF16) return ncclBfloat16;
  check(t == DType::F32, concat("no sums over GPUs of ", name_of(t)));
  return ncclFloat;
}

constexpr int kMostBlocks = 16;  // multiprocessors that messages may take from the computation

class NcclLink : public PeerLink {
 public:
  NcclLink(const ncclUniqueId& id, int member, int size) : size_(size) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.maxCTAs = kMostBlocks;
    NCCL_CHECK(ncclCommInitRankConfig(&comm_, size, id, member, &config));
    add_watch(watch_);
  }
  // After an error the others may never come: abort does not wait for them.
  ~NcclLink() override {
    failed_ || std::uncaught_exceptions() ? ncclCommAbort(comm_) : ncclCommDestroy(comm_);
  }

  Event exchange(const std::vector<Part>& send, const std::vector<Part>& receive) override {
    check_health();
    communicate_after(computed());
    const cudaStream_t stream = communication_stream();
    NCCL_CHECK(ncclGroupStart());
    for (int m = 0; m < size_; ++m) {
      if (send[m].bytes)
        NCCL_CHECK(ncclSend(send[m].data, size_t(send[m].bytes), ncclInt8, m, comm_, stream));
      if (receive[m].bytes)
        NCCL_CHECK(ncclRecv(receive[m].data, size_t(receive[m].bytes), ncclInt8, m, comm_, stream));
    }
    NCCL_CHECK(ncclGroupEnd());
    return communicated();
  }

  Event sum(const Tensor& t) override {
    check_health();
    communicate_after(computed());
    NCCL_CHECK(ncclAllReduce(t.raw(), t.raw(), size_t(t.numel()), nccl_type(t.dtype()), ncclSum,
                             comm_, communication_stream()));
    return communicated();
  }

 private:
  void check_health() {  // of what was started earlier
    ncclResult_t state;
    NCCL_CHECK(ncclCommGetAsyncError(comm_, &state));
    failed_ |= state != ncclSuccess;
    check_nccl(state, "a message between GPUs");
  }

  ncclComm_t comm_ = nullptr;
  int size_;
  bool failed_ = false;
  const std::shared_ptr<const std::function<void()>> watch_ =
      std::make_shared<const std::function<void()>>([this] { check_health(); });
};

}  // namespace

std::string new_link_id() {
  ncclUniqueId id;
  NCCL_CHECK(ncclGetUniqueId(&id));
  return std::string(id.internal, sizeof id.internal);
}

std::unique_ptr<PeerLink> connect_peers(const std::string& text, int member, int size) {
  ncclUniqueId id;
  check(text.size() == sizeof id.internal, "connect_peers: not an id of NCCL");
  text.copy(id.internal, sizeof id.internal);
  return std::make_unique<NcclLink>(id, member, size);
}

}  // namespace switchyard::cuda

#else

namespace switchyard::cuda {
std::string new_link_id() { return ""; }
std::unique_ptr<PeerLink> connect_peers(const std::string&, int, int) {
  throw Error("this binary was built without NCCL");
}
}  // namespace switchyard::cuda

#endif
