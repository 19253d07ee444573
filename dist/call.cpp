// Call: publishing, reading in place, messages.
#include "dist/call.h"

#include <cstring>

#include "tensor/parallel.h"

namespace switchyard::dist {

void Call::publish(const std::byte* data, int64_t bytes, const int64_t* offsets) {
  CommGroup::Slot& slot = g.slots[me];
  slot.data = data;
  slot.bytes = bytes;
  slot.offsets = offsets;
}

const std::byte* Call::peer(int m, int64_t bytes) const {
  const CommGroup::Slot& slot = g.slots[m];
  if (slot.bytes != bytes) {  // not check(): its text would be made on every call
    throw Error(concat("ranks disagree about a collective: rank ", g.members[m], " has ",
                       slot.bytes, " bytes, rank ", g.members[me], " has ", bytes));
  }
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

void copy(std::byte* to, const std::byte* from, int64_t bytes) {
  parallel_for(bytes, int64_t{1} << 20, [&](int64_t begin, int64_t end) {
    std::memcpy(to + begin, from + begin, end - begin);
  });
}

void spread_parts(Call& c, const std::vector<int64_t>& offsets, std::byte* out) {
  const int64_t total = offsets.back();
  c.meet();
  c.read([&] {
    for (int m = 0; m < c.g.size(); ++m) {
      const int64_t bytes = offsets[m + 1] - offsets[m];
      if (c.agent(m) == c.me || bytes == 0) continue;
      copy(out + offsets[m], c.peer(c.agent(m), total) + offsets[m], bytes);
    }
  });
  c.meet();
}

void exchange_parts(Call& c, const std::vector<int64_t>& offsets, std::byte* out) {
  const auto bytes = [&](int m) { return offsets[m + 1] - offsets[m]; };
  for (int m = 0; m < c.g.size(); ++m) {
    if (!c.is_local(m) && c.agent(m) == c.me) c.receive(m, out + offsets[m], bytes(m));
  }
  for (int h = 0; h < int(c.g.hosts.size()); ++h) {
    if (h != c.g.here) c.send(c.g.agent(h, c.me), out + offsets[c.me], bytes(c.me));
  }
  c.finish();
}

void gather(Call& c, const std::byte* mine, const std::vector<int64_t>& offsets, std::byte* out) {
  if (const int64_t bytes = offsets[c.me + 1] - offsets[c.me])
    copy(out + offsets[c.me], mine, bytes);
  c.publish(out, offsets.back());
  exchange_parts(c, offsets, out);
  spread_parts(c, offsets, out);
}

std::vector<int64_t> equal_parts(int n, int64_t bytes) {
  std::vector<int64_t> offsets(n + 1);
  for (int m = 0; m <= n; ++m) offsets[m] = m * bytes;
  return offsets;
}

void check_cpu(const Tensor& t, const char* name) {
  check(t.defined() && t.device() == Device::CPU,
        concat(name, ": needs a defined tensor on the CPU"));
}

Shape with_rows(Shape shape, int64_t rows) {
  shape[0] = rows;
  return shape;
}

}  // namespace switchyard::dist
