#include "apps/common/tensorboard.h"

#include <immintrin.h>

namespace switchyard {
namespace {

template <class T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// Protobuf: each field is a key (number * 8 + wire type) and its value.
enum Wire { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// Seven bits a byte, lowest first; the top bit says more follow.
std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 128; value >>= 7) out += char(value | 128);
  return out + char(value);
}
std::string key(int number, Wire wire) { return varint(uint64_t(number) * 8 + wire); }
std::string bytes_field(int number, const std::string& bytes) {
  return key(number, kBytes) + varint(bytes.size()) + bytes;
}

uint32_t masked_crc(const std::string& bytes) {
  const uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

}  // namespace

uint32_t crc32c(const std::string& bytes) {
  uint32_t crc = 0xffffffff;
  for (const char byte : bytes) crc = _mm_crc32_u8(crc, uint8_t(byte));
  return ~crc;
}

std::string tfrecord(const std::string& data) {
  const std::string length = raw<uint64_t>(data.size());
  return length + raw(masked_crc(length)) + data + raw(masked_crc(data));
}

// Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; }
std::string version_event(double wall_time) {
  return key(1, kFixed64) + raw(wall_time) + bytes_field(3, "brain.Event:2");
}

// Summary { repeated Value value = 1; }   Value { string tag = 1; float simple_value = 2; }
std::string scalar_event(double wall_time, int64_t step, const std::string& tag, float value) {
  const std::string scalar = bytes_field(1, tag) + key(2, kFixed32) + raw(value);
  return key(1, kFixed64) + raw(wall_time) + key(2, kVarint) + varint(uint64_t(step)) +
         bytes_field(5, bytes_field(1, scalar));
}

}  // namespace switchyard
