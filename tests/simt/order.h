// What must wait for what on the emulated GPU. Work is done when it is started, so results never show a missing
// wait; the order that streams, events and waits of the host promise is kept beside it, as vector clocks. Work
// that touches memory which another stream used, without a promise that this use is over, ends the process.
// So does the host that changes pinned memory while a copy from it may be under way; what a copy brings to
// pinned memory is there when the host has waited, and NaN before.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

struct SimtStream;
struct SimtEvent;

namespace simt {

// Device memory is mapped while one of these lives, and nobody else has one.
struct DeviceAccess {
  DeviceAccess();
  ~DeviceAccess();
};

// By stream: how many of its pieces of work are over
class Clock {
 public:
  uint64_t operator[](size_t stream) const { return stream < counts_.size() ? counts_[stream] : 0; }
  void set(size_t stream, uint64_t count) {
    if (counts_.size() <= stream) counts_.resize(stream + 1);
    counts_[stream] = count;
  }
  void join(const Clock& other) {
    if (counts_.size() < other.counts_.size()) counts_.resize(other.counts_.size());
    for (size_t i = 0; i < other.counts_.size(); ++i)
      if (counts_[i] < other.counts_[i]) counts_[i] = other.counts_[i];
  }

 private:
  std::vector<uint64_t> counts_;
};

enum class Use { Read, Write };

// One piece of work on a stream: a kernel, a copy, a call of a library
class Work {
 public:
  Work(SimtStream* stream, const char* what);
  void use(const void* p, size_t bytes, Use use);  // dies of what nobody waited for
  void use_rows(const void* p, size_t rows, size_t row_bytes, size_t pitch, Use use);
  void use_all(const void* p, Use use);  // the allocation around p, if there is one
  // Whatever bytes of an argument could be a pointer counts as written.
  void use_words(const void* argument, size_t bytes);
  void after(const Clock& clock);  // of a message's sender
  const Clock& clock() const;

  // Work that makes or ends the allocation at p
  void allocate(const void* p, size_t bytes);
  void free(const void* p);

 private:
  const DeviceAccess access_;
  SimtStream* const stream_;
  const char* const what_;
};

}  // namespace simt
