// Scalars for TensorBoard: an event file is a chain of TFRecords
//   length (8 bytes) | masked CRC32C of it (4) | Event, a protobuf (length bytes) | masked CRC32C of it (4)
// all little endian, masked(c) = rotate_right(c, 15) + 0xa282ead8.
#pragma once
#include <cstdint>
#include <string>

namespace switchyard {

uint32_t crc32c(const std::string& bytes);
std::string tfrecord(const std::string& data);
std::string version_event(double wall_time);  // the first of a file; seconds since 1970
std::string scalar_event(double wall_time, int64_t step, const std::string& tag, float value);

}  // namespace switchyard
