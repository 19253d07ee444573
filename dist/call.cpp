// Call: publishing, reading in place, messages.
#include "dist/call.h"

namespace switchyard::dist {

void Call::publish(const std::byte* data, int64_t bytes, const int64_t* offsets) {
  CommGroup::Slot& slot = g.slots[me];
  slot.data = data;
  slot.bytes = bytes;
  slot.offsets = offsets;
}

const std::byte* Call::peer(int m, int64_t bytes) const {
  const CommGroup::Slot& slot = g.slots[m];
  check(slot.bytes == bytes,
        concat("ranks disagree about a collective: rank ", g.members[m], " has ", slot.bytes,
               " bytes, rank ", g.members[me], " has ", bytes));
  return slot.data;
}

Call::Reading::Reading(CommGroup& group) : g(group) {
  // First count, then look at the poison; who poisons looks at the count afterwards. Both are sequentially
  // consistent, so either this reader stays out or the other waits for it.
  g.readers.fetch_add(1);
  if (g.world->poisoned) {
    g.readers.fetch_sub(1);
    throw Aborted("another rank failed");
  }
}

void wait_for_readers(const CommGroup& group) {
  for (int turn = 0; group.readers.load() != 0; ++turn) group.world->pause(turn);
}

void Call::send(int m, const std::byte* data, int64_t bytes) {
  if (bytes == 0) return;
  g.world->bridge->send(g.hosts[g.host_of[m]].process, g.tag(me, m), data, bytes, messages_);
  traffic.carried[int(g.level(me, m))] += bytes;
}

void Call::receive(int m, std::byte* data, int64_t bytes) {
  if (bytes == 0) return;
  g.world->bridge->receive(g.hosts[g.host_of[m]].process, g.tag(m, me), data, bytes, messages_);
}

void Call::finish() {
  if (messages_.empty()) return;
  g.world->wait([&] { return g.world->bridge->finished(messages_); });
}

void Call::count_others(int64_t bytes) {
  for (int m = 0; m < g.size(); ++m) {
    if (m != me) count(m, bytes);
  }
}

}  // namespace switchyard::dist
