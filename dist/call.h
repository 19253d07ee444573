// Call: what one member does in one collective. Private to dist/.
// Read before: comm_group.h. Read next: collectives.cpp.
#pragma once
#include <numeric>

#include "dist/comm_group.h"
#include "tensor/allocator.h"

namespace switchyard::dist {

// Memory cut into one part for each member, of the given numbers of bytes.
struct Parts {
  Parts() = default;
  Parts(std::byte* memory, const std::vector<int64_t>& sizes)
      : data(memory), offsets(sizes.size() + 1) {
    std::inclusive_scan(sizes.begin(), sizes.end(), offsets.begin() + 1);
  }
  std::byte* at(int m) const { return data + offsets[m]; }
  int64_t bytes(int m) const { return offsets[m + 1] - offsets[m]; }

  std::byte* data = nullptr;
  std::vector<int64_t> offsets;
};

// Segment m of n of a tensor's elements
inline int64_t segment_bytes(const Tensor& t, int m, int n) {
  return (t.numel() * (m + 1) / n - t.numel() * m / n) * size_of(t.dtype());
}

// One collective of one member, in steps: publish memory to the members of this process and read theirs in
// place; send and receive messages to and from other processes.
class Call {
 public:
  Call(CommGroup& group, int rank, CommMeter& meter, const char* kind)
      : g(group), me(rank), meter_(meter), kind_(kind) {}

  // Shows memory to the members of this process, and waits for theirs. It must outlive the Call: the others
  // may read it until then.
  void publish(const Parts& parts) {
    published_ = parts;
    g.slots[me].parts = &published_;
    g.meet(me);
  }
  void part() { g.meet(me); }  // everyone has read what is published
  // A part of what another member of this process has published, to be read before they part.
  const std::byte* peer(int m, int part, int64_t bytes) const {
    const Parts& parts = *g.slots[m].parts;
    if (parts.bytes(part) != bytes) {  // not check(): its text would be made on every call
      throw Error(concat("ranks disagree about a collective: rank ", g.members[m], " has ",
                         parts.bytes(part), " bytes, rank ", g.members[me], " expects ", bytes));
    }
    return parts.at(part);
  }

  std::byte* scratch(int64_t bytes) { return scratch_.emplace_back(allocate(bytes)).get(); }
  void send(int m, std::byte* data, int64_t bytes) {
    if (bytes == 0) return;
    g.world->bridge.send(g.process_of[m], g.tag(me, m), data, bytes, messages_);
    traffic(m).carried_bytes += bytes;
  }
  void receive(int m, std::byte* data, int64_t bytes) {
    g.world->bridge.receive(g.process_of[m], g.tag(m, me), data, bytes, messages_);
  }
  void finish() {  // waits for all messages
    if (!messages_.empty()) g.world->wait([&] { return g.world->bridge.finished(messages_); });
  }

  CommMeter::Traffic& traffic(int m) { return meter_.entries[{kind_, g.level(me, m)}]; }
  void count(int m, int64_t bytes) {  // one message to m, for the meter
    ++traffic(m).messages;
    traffic(m).bytes += bytes;
  }
  void count_others(int64_t bytes) {  // one to each other member
    for (int m = 0; m < g.size(); ++m) {
      if (m != me) count(m, bytes);
    }
  }

  CommGroup& g;
  const int me;

 private:
  CommMeter& meter_;
  const char* kind_;
  Parts published_;
  std::vector<std::shared_ptr<std::byte>> scratch_;
  MpiBridge::InFlight messages_;  // under way
};

}  // namespace switchyard::dist
