// Traffic: what one collective of one rank moved, by level; added to the rank's CommMeter. Private to dist/.
#pragma once
#include "dist/comm.h"

namespace switchyard::dist {

struct Traffic {
  int64_t messages[3] = {}, bytes[3] = {}, carried[3] = {};  // by Level
  void message(Level level, int64_t size) {
    ++messages[int(level)];
    bytes[int(level)] += size;
  }
};

void add_traffic(CommMeter& meter, const char* kind, const Traffic& traffic, double seconds);

}  // namespace switchyard::dist
