// Call: one collective of one member. The steps it is made of: publish memory to the members of this process,
// meet them, read theirs in place; send and receive messages to and from other processes. Private to dist/.
#pragma once
#include <chrono>
#include <vector>

#include "dist/comm_group.h"
#include "dist/meter.h"

namespace switchyard::dist {

class Call {
 public:
  Call(CommGroup& group, int me) : g(group), me(me) {}
  Call(const Call&) = delete;

  void publish(const std::byte* data, int64_t bytes, const int64_t* offsets = nullptr);
  void meet() { g.meet(me); }
  // Another member's published memory; read it only inside read(), between two meetings.
  const std::byte* peer(int m, int64_t bytes) const;
  template <class Body>
  void read(const Body& body) {
    const Reading reading(g);
    body();
  }

  void send(int m, const std::byte* data, int64_t bytes);
  void receive(int m, std::byte* data, int64_t bytes);
  void finish();  // waits for all messages

  bool is_local(int m) const { return g.host_of[m] == g.here; }
  int agent(int m) const { return g.agent(g.here, m); }  // who stands for m in this process
  void count(int m, int64_t bytes) { traffic.message(g.level(me, m), bytes); }  // one message to m
  void count_others(int64_t bytes);  // one to each other member

  CommGroup& g;
  const int me;
  Traffic traffic;

 private:
  struct Reading {
    explicit Reading(CommGroup& group);
    ~Reading() { g.readers.fetch_sub(1); }
    CommGroup& g;
  };
  InFlight messages_;
};

void wait_for_readers(const CommGroup& group);

// Runs body(call) as a collective of kind `kind`. When it throws, the others are told, and nobody reads this
// member's memory any more once the exception leaves.
template <class Body>
void collective(const std::shared_ptr<CommGroup>& group, int me, const char* kind,
                const Body& body) {
  check(group != nullptr, "a collective on an empty Comm");
  const auto start = std::chrono::steady_clock::now();
  Call call(*group, me);
  try {
    body(call);
  } catch (...) {
    group->world->poison();
    wait_for_readers(*group);
    throw;
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  World& world = *group->world;
  add_traffic(world.meters[world.local_index(group->members[me])], kind, call.traffic,
              seconds.count());
}

// --- Steps that several collectives share ----------------------------------------------------------------

void copy(std::byte* to, const std::byte* from, int64_t bytes);
std::vector<int64_t> equal_parts(int n, int64_t bytes);  // n + 1 offsets
// out = the parts of all members, in order: part m is [offsets[m], offsets[m+1]) bytes of it.
void gather(Call& c, const std::byte* mine, const std::vector<int64_t>& offsets, std::byte* out);
// gather in two halves, both with the own part in `out` already. First: the own part to one member of every
// other process, theirs to the agents here. Second: what is here to all members of this process.
// `out` must be published before the second; publishing it anew could race with those who still read the slot.
void exchange_parts(Call& c, const std::vector<int64_t>& offsets, std::byte* out);
void spread_parts(Call& c, const std::vector<int64_t>& offsets, std::byte* out);

void check_cpu(const Tensor& t, const char* name);
Shape with_rows(Shape shape, int64_t rows);

}  // namespace switchyard::dist
