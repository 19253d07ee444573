// Scalars for TensorBoard: an event file is a chain of TFRecords
//   length (8 bytes) | masked CRC32C of it (4) | Event, a protobuf (length bytes) | masked CRC32C of it (4)
// all little endian, masked(c) = rotate_right(c, 15) + 0xa282ead8. Rank 0 only.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "apps/common/append_file.h"

namespace switchyard {

class TensorBoardWriter {
 public:
  // Writes a new file in `folder`; in those already there, events behind resume_update are cut away (-1: all).
  TensorBoardWriter(const std::string& folder, int64_t resume_update);
  void scalar(const std::string& tag, double value,
              int64_t step);  // on a full disk counted as lost
  void sync() { file_->sync(); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::unique_ptr<AppendFile> file_;
};

uint32_t crc32c(std::string_view bytes);
std::string tfrecord(std::string_view data);
std::string version_event(double wall_time);
std::string scalar_event(double wall_time, int64_t step, const std::string& tag, float value);

}  // namespace switchyard
