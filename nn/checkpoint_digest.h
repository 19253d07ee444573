// What a checkpoint holds, as numbers that do not depend on who wrote it: digests over (path, dtype, shape,
// bytes) of all datasets in path order, and the first difference between two checkpoints. Shards and
// configuration do not enter.
#pragma once
#include <functional>
#include <string>

#include "tensor/hdf5.h"

namespace switchyard {

struct CheckpointDigest {
  std::string model, optimizer;
  std::string combined;  // hash of the two
};
CheckpointDigest digest(const Hdf5File& model);

// "/model/x: element 17 is 0.25 in A, 0.5 in B, 8388608 ulps apart"; empty when all tensors are equal
std::string first_difference(const Hdf5File& a, const Hdf5File& b);

std::string layout(const Hdf5File& file, const std::string& path);  // "f32 [4, 3]"

// Calls fn(rows) on pieces of dimension 0, of at most 64 MiB each, in order.
void for_rows(const Hdf5File& file, const std::string& path,
              const std::function<void(int64_t first, const Tensor& rows)>& fn);

}  // namespace switchyard
