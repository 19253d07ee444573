#include "apps/common/tensorboard.h"

#include <immintrin.h>

#include <chrono>
#include <cstring>
#include <filesystem>

#include "dist/cpus.h"
#include "nn/checkpoint_files.h"
#include "tensor/check.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

template <class T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// Protobuf: each field is a key (number * 8 + wire type) and its value.
enum Wire : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

std::string varint(
    uint64_t value) {  // seven bits a byte, lowest first; the top bit says more follow
  std::string out;
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128);
  return out + static_cast<char>(value);
}
std::string key(int number, Wire wire) { return varint(static_cast<uint64_t>(number) << 3 | wire); }
std::string bytes_field(int number, const std::string& bytes) {
  return key(number, kBytes) + varint(bytes.size()) + bytes;
}

uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

// Our events begin with wall_time (9 bytes); a step follows, except in the version event.
int64_t step_of(std::string_view event) {
  uint64_t step = 0;
  if (event.size() < 11 || event[9] != key(2, kVarint)[0]) return 0;
  for (size_t i = 10, shift = 0; i < event.size() && shift < 64; ++i, shift += 7) {
    step |= static_cast<uint64_t>(event[i] & 127) << shift;
    if (!(event[i] & 128)) break;
  }
  return static_cast<int64_t>(step);
}

// Keeps the whole records up to `step`; a torn or damaged tail ends the file.
void cut_back(const std::string& path, int64_t step) {
  const std::string all = read_text(path);
  std::string kept;
  for (std::string_view rest = all; rest.size() >= 16;) {
    uint64_t length = 0;
    std::memcpy(&length, rest.data(), 8);
    if (length > rest.size() - 16) break;
    const std::string_view record = rest.substr(0, 16 + length), event = rest.substr(12, length);
    if (tfrecord(event) != record) break;
    if (step_of(event) <= step) kept += record;
    rest.remove_prefix(record.size());
  }
  if (kept.size() != all.size()) write_file_atomically(path, kept);
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = 0xffffffff;
  for (const char byte : bytes) crc = _mm_crc32_u8(crc, static_cast<uint8_t>(byte));
  return ~crc;
}

std::string tfrecord(std::string_view data) {
  const std::string length = raw<uint64_t>(data.size());
  return length + raw(masked_crc(length)) + std::string(data) + raw(masked_crc(data));
}

// Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; }
std::string version_event(double wall_time) {
  return key(1, kFixed64) + raw(wall_time) + bytes_field(3, "brain.Event:2");
}

// Summary { repeated Value value = 1; }   Value { string tag = 1; float simple_value = 2; }
std::string scalar_event(double wall_time, int64_t step, const std::string& tag, float value) {
  const std::string scalar = bytes_field(1, tag) + key(2, kFixed32) + raw(value);
  return key(1, kFixed64) + raw(wall_time) + key(2, kVarint) + varint(static_cast<uint64_t>(step)) +
         bytes_field(5, bytes_field(1, scalar));
}

TensorBoardWriter::TensorBoardWriter(const std::string& folder, int64_t resume_update) {
  std::error_code error;
  fs::create_directories(folder, error);
  user_check(!error, concat("cannot create folder '", folder, "': ", error.message()));
  const std::string prefix = "events.out.tfevents.";
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name.rfind(prefix, 0) != 0) continue;
    if (resume_update < 0) fs::remove(entry.path());
    else cut_back(entry.path(), resume_update);
  }
  auto seconds = static_cast<int64_t>(now());
  do path_ = concat(folder, "/", prefix, seconds++, ".", dist::host_name());
  while (fs::exists(path_));
  file_ = std::make_unique<AppendFile>(path_, false);
  file_->append(tfrecord(version_event(now())));
}

void TensorBoardWriter::scalar(const std::string& tag, double value, int64_t step) {
  file_->append(tfrecord(scalar_event(now(), step, tag, static_cast<float>(value))));
}

}  // namespace switchyard
