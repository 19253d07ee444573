// The communication meter. "As the method sees it", with n members and b bytes:
//   all_to_all      one message to each member, itself included, with its rows (Rows: if there are any;
//                   Padded: always `capacity` rows); the counts before it are of kind "counts"
//   all_gather      b to each other member          broadcast   the root: b to each other member
//   reduce_scatter  each other member's slice       barrier     an empty message to each other member
//   all_reduce      as a reduce_scatter of n segments and an all_gather of the own one; segment m of N
//                   elements is [m N / n, (m + 1) N / n); single numbers go whole to each other member
// `carried_bytes` is what this rank gave to MPI, however the collective is done.
#include "dist/meter.h"

namespace switchyard::dist {

void CommMeter::reset() {
  entries.clear();
  seconds = 0;
}

void add_traffic(CommMeter& meter, const char* kind, const Traffic& traffic, double seconds) {
  meter.seconds += seconds;
  for (int level = 0; level < 3; ++level) {
    if (!traffic.messages[level] && !traffic.carried[level]) continue;
    CommMeter::Entry* entry = nullptr;
    for (CommMeter::Entry& e : meter.entries) {
      if (e.level == Level(level) && e.kind == kind) entry = &e;
    }
    if (!entry) entry = &meter.entries.emplace_back(CommMeter::Entry{kind, Level(level), 0, 0, 0});
    entry->messages += traffic.messages[level];
    entry->bytes += traffic.bytes[level];
    entry->carried_bytes += traffic.carried[level];
  }
}

}  // namespace switchyard::dist
