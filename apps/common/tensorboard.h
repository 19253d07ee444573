// Scalars for TensorBoard: an event file is a chain of TFRecords
//   length (8 bytes) | masked CRC32C of it (4) | Event, a protobuf (length bytes) | masked CRC32C of it (4)
// all little endian, masked(c) = rotate_right(c, 15) + 0xa282ead8.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <string>

namespace switchyard::tensorboard {

inline uint32_t crc32c(const std::string& bytes) {
  uint32_t crc = 0xffffffff;
  for (const char byte : bytes) crc = _mm_crc32_u8(crc, uint8_t(byte));
  return ~crc;
}

template <class T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

inline uint32_t masked_crc(const std::string& bytes) {
  const uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

// Protobuf: each field is a key (number * 8 + type of the value) and its value.
enum Wire { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
constexpr char key(int number, Wire wire) { return char(number * 8 + wire); }

// Seven bits a byte, lowest first; the top bit says more follow.
inline std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 128; value >>= 7) out += char(value | 128);
  return out + char(value);
}
inline std::string bytes_field(int number, const std::string& bytes) {
  return key(number, kBytes) + varint(bytes.size()) + bytes;
}

inline std::string tfrecord(const std::string& data) {
  const std::string length = raw<uint64_t>(data.size());
  return length + raw(masked_crc(length)) + data + raw(masked_crc(data));
}

// Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; }
// The first event of a file; seconds since 1970
inline std::string version_event(double wall_time) {
  return key(1, kFixed64) + raw(wall_time) + bytes_field(3, "brain.Event:2");
}

// Summary { repeated Value value = 1; }   Value { string tag = 1; float simple_value = 2; }
inline std::string scalar_event(double wall_time, int64_t step, const std::string& tag,
                                float value) {
  const std::string scalar = bytes_field(1, tag) + key(2, kFixed32) + raw(value);
  return key(1, kFixed64) + raw(wall_time) + key(2, kVarint) + varint(uint64_t(step)) +
         bytes_field(5, bytes_field(1, scalar));
}

}  // namespace switchyard::tensorboard
