// Messages between the GPUs of ranks that may share them: a PeerLink without NCCL. Members of this process copy
// from each other's memory, each on its own stream; members of other processes get the bytes through pinned
// memory and MPI. Private to dist/. Read before: comm_group.h. Read next: gpu_collectives.cpp.
#pragma once
#include "dist/comm_group.h"

namespace switchyard::dist {

// For the member `me` of the group, which outlives it
std::unique_ptr<cuda::PeerLink> share_gpus(CommGroup& group, int me);

}  // namespace switchyard::dist
