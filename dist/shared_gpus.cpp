// In this process a member shows its messages and when they are ready; the others copy them, and it goes on
// after they have. To other processes bytes travel in rounds of one destination and one source each, so that
// two pieces of pinned memory for each direction serve any number of members: while MPI carries a piece, the next
// one is on its way from or to the GPU.
#include "dist/shared_gpus.h"

#include <chrono>

namespace switchyard::dist {
namespace {

using cuda::Event, cuda::PeerLink;
using Part = PeerLink::Part;

constexpr int64_t kPiece = 4 << 20;  // bytes

// The bytes of a message as pieces, each in one of two places of pinned memory
class Lane {
 public:
  void begin(const Part& part) {
    part_ = part;
    started_ = finished_ = 0;
    if (!memory_ && part.bytes) memory_ = cuda::allocate_pinned(2 * kPiece);
  }
  bool done() const { return finished_ == pieces(); }

 protected:
  int64_t pieces() const { return (part_.bytes + kPiece - 1) / kPiece; }
  int64_t bytes(int64_t i) const { return std::min(kPiece, part_.bytes - i * kPiece); }
  std::byte* on_gpu(int64_t i) const { return part_.data + i * kPiece; }
  std::byte* staged(int64_t i) const { return memory_.get() + i % 2 * kPiece; }

  Part part_ = {};
  int64_t started_ = 0, finished_ = 0;  // pieces
  std::shared_ptr<std::byte> memory_;
  Event copied_[2];                 // of the last copy from or to each place
  MpiBridge::InFlight message_[2];  // from or to each place
};

class Sender : public Lane {
 public:
  void step(MpiBridge& bridge, int process, int tag) {
    if (started_ < pieces() && started_ < finished_ + 2) {  // its place is free
      cuda::copy_message(on_gpu(started_), staged(started_), bytes(started_));
      copied_[started_ % 2] = cuda::communicated();
      sent_[started_ % 2] = false;
      ++started_;
    }
    for (int64_t i = finished_; i < started_; ++i) {
      if (sent_[i % 2]) continue;
      if (!cuda::done(copied_[i % 2])) break;
      bridge.send(process, tag, staged(i), bytes(i), message_[i % 2]);
      sent_[i % 2] = true;
    }
    if (finished_ < started_ && sent_[finished_ % 2] && bridge.finished(message_[finished_ % 2]))
      ++finished_;
  }

 private:
  bool sent_[2] = {};
};

class Receiver : public Lane {
 public:
  bool done() const {
    const auto is_done = [](const Event& e) { return !e || cuda::done(e); };
    return Lane::done() && is_done(copied_[0]) && is_done(copied_[1]);
  }
  void step(MpiBridge& bridge, int process, int tag) {
    if (started_ < pieces() && started_ < finished_ + 2) {
      const Event& last = copied_[started_ % 2];
      if (!last || cuda::done(last)) {
        bridge.receive(process, tag, staged(started_), bytes(started_), message_[started_ % 2]);
        ++started_;
      }
    }
    if (finished_ < started_ && bridge.finished(message_[finished_ % 2])) {
      cuda::copy_message(staged(finished_), on_gpu(finished_), bytes(finished_));
      copied_[finished_ % 2] = cuda::communicated();
      ++finished_;
    }
  }
};

class SharedGpus : public PeerLink {
 public:
  SharedGpus(CommGroup& group, int me) : g(group), me(me) {}

  Event exchange(const std::vector<Part>& send, const std::vector<Part>& receive) override {
    cuda::communicate_after(cuda::computed());
    exchange_here(send, receive);
    // Round d: to the d-th member after this one, from the d-th before it
    const int n = g.size();
    for (int d = 1; d < n && g.members_of.size() > 1; ++d)
      carry((me + d) % n, send[(me + d) % n], (me + n - d) % n, receive[(me + n - d) % n]);
    return cuda::communicated();
  }

 private:
  void exchange_here(const std::vector<Part>& send, const std::vector<Part>& receive) {
    CommGroup::Slot& own = g.slots[me];
    own.messages = &send;
    own.ready = cuda::communicated();
    g.meet(me);
    for (const int m : g.here()) {
      const CommGroup::Slot& peer = g.slots[m];
      const Part& from = peer.messages->at(me);
      if (from.bytes != receive[m].bytes)
        throw Error(concat("ranks disagree about a collective: rank ", g.members[m], " sends ",
                           from.bytes, " bytes, rank ", g.members[me], " expects ",
                           receive[m].bytes));
      if (from.bytes == 0) continue;
      cuda::communicate_after(peer.ready);
      cuda::copy_message(from.data, receive[m].data, from.bytes);
    }
    own.read = cuda::communicated();
    g.meet(me);
    for (const int m : g.here()) cuda::communicate_after(g.slots[m].read);
  }

  void carry(int to, Part out, int from, Part in) {
    if (g.is_local(to)) out.bytes = 0;
    if (g.is_local(from)) in.bytes = 0;
    sender_.begin(out);
    receiver_.begin(in);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(30);
    g.world->wait([&] {
      check(std::chrono::steady_clock::now() < deadline,
            "a message between GPUs of two processes is half an hour late");
      sender_.step(g.world->bridge, g.process_of[to], g.tag(me, to));
      receiver_.step(g.world->bridge, g.process_of[from], g.tag(from, me));
      return sender_.done() && receiver_.done();
    });
  }

  CommGroup& g;
  const int me;
  Sender sender_;
  Receiver receiver_;
};

}  // namespace

std::unique_ptr<PeerLink> share_gpus(CommGroup& group, int me) {
  return std::make_unique<SharedGpus>(group, me);
}

}  // namespace switchyard::dist
