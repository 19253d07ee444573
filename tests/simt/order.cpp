// See order.h.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <utility>

using simt::Clock;

struct SimtStream {
  size_t number;
  Clock clock;             // what is over when its next piece of work begins
  uint64_t seen_host = 0;  // version of the host's clock that it has joined
  bool asked = false;      // about its newest work
};
struct SimtEvent {
  Clock clock;
  bool recorded = false, asked = false;
};

namespace simt {

std::atomic<bool> stuck = false;

namespace {

using Byte = unsigned char;
struct Access {
  size_t stream;
  uint64_t at;  // count of its stream
  Use use;
  const Byte *begin, *end;
  size_t row, pitch;  // bytes of a row, and from row to row

  bool overlaps(const Access& other) const {
    if (end <= other.begin || other.end <= begin) return false;
    if (pitch != other.pitch || row >= pitch) return true;
    const size_t offset = size_t(other.begin - begin) % pitch;  // of the other's columns
    return offset < row || offset + other.row > pitch;
  }
  bool covers(const Access& other) const {
    const bool around = begin <= other.begin && other.end <= end;
    return around && (row == pitch || (begin == other.begin && end == other.end &&
                                       row == other.row && pitch == other.pitch));
  }
};
struct Allocation {
  const Byte* end;
  std::vector<Access> accesses;  // those that no later one makes irrelevant
};
struct HostCopy {  // between the device and pinned memory, not known to be over
  size_t stream;
  uint64_t at;
  bool arrives;
  Byte* host;
  std::vector<Byte> bytes;  // what it brings, or what it reads
};

struct Order {
  std::recursive_mutex mutex;
  std::map<const Byte*, Allocation> allocations;
  std::map<const Byte*, size_t> pinned;
  std::vector<HostCopy> host_copies;
  // Of all host threads together: how they wait for each other is not seen.
  Clock host;
  uint64_t host_version = 0;
  size_t streams = 0;
};
Order& order() {
  static Order o;
  return o;
}

struct Locked {
  Locked() : lock(order().mutex) {}
  const std::lock_guard<std::recursive_mutex> lock;
};

[[noreturn]] void die_of(const std::string& text) { die(text.c_str()); }

// One more piece of work, after what the host has waited for
void begin_work(cudaStream_t stream) {
  if (!stream) die("work on the default stream");
  const Locked locked;
  Order& o = order();
  if (stream->seen_host != o.host_version) stream->clock.join(o.host);
  stream->seen_host = o.host_version;
  stream->clock.set(stream->number, stream->clock[stream->number] + 1);
  stream->asked = false;
}

void host_waited(const Clock& clock) {
  const Locked locked;
  Order& o = order();
  o.host.join(clock);
  ++o.host_version;
  std::erase_if(o.host_copies, [&](const HostCopy& c) {
    if (o.host[c.stream] < c.at) return false;
    if (c.arrives) std::copy(c.bytes.begin(), c.bytes.end(), c.host);
    else if (!std::equal(c.bytes.begin(), c.bytes.end(), c.host))
      die("pinned memory changed before the copy from it was over");
    return true;
  });
}

// The allocation around p, or null
std::pair<const Byte* const, Allocation>* allocation_of(const Byte* p) {
  const auto next = order().allocations.upper_bound(p);
  if (next == order().allocations.begin()) return nullptr;
  auto& found = *std::prev(next);
  return p < found.second.end ? &found : nullptr;
}

bool is_pinned(const void* p, size_t bytes) {
  const auto* begin = static_cast<const Byte*>(p);
  const auto next = order().pinned.upper_bound(begin);
  return next != order().pinned.begin() &&
         begin + bytes <= std::prev(next)->first + std::prev(next)->second;
}

}  // namespace

Work::Work(cudaStream_t stream, const char* what) : stream_(stream), what_(what) {
  begin_work(stream);
}
void Work::after(const Clock& clock) {
  const Locked locked;
  stream_->clock.join(clock);
}
const Clock& Work::clock() const { return stream_->clock; }

void Work::use_rows(const void* p, size_t rows, size_t row_bytes, size_t pitch, Use use) {
  const Locked locked;
  const auto* begin = static_cast<const Byte*>(p);
  auto* memory = allocation_of(begin);
  if (!memory || rows * row_bytes == 0) return;
  const Byte* end = std::min(begin + (rows - 1) * pitch + row_bytes, memory->second.end);
  const Access now{stream_->number, stream_->clock[stream_->number], use, begin, end,
                   row_bytes,       rows == 1 ? row_bytes : pitch};
  std::erase_if(memory->second.accesses, [&](const Access& a) {
    if (a.use == Use::Read && use == Use::Read) return a.stream == now.stream && now.covers(a);
    if (!now.overlaps(a)) return false;
    if (stream_->clock[a.stream] < a.at)
      die_of(std::string(what_) + " on stream " + std::to_string(now.stream) +
             (use == Use::Read ? " reads" : " writes or frees") + " what stream " +
             std::to_string(a.stream) + (a.use == Use::Read ? " reads" : " writes") +
             ", without waiting for it");
    return use == Use::Write && now.covers(a);  // later uses wait for this one
  });
  memory->second.accesses.push_back(now);
}
void Work::use(const void* p, size_t bytes, Use use) { use_rows(p, 1, bytes, bytes, use); }
void Work::use_all(const void* p, Use how) {
  const Locked locked;
  if (const auto* memory = allocation_of(static_cast<const Byte*>(p)))
    use(memory->first, size_t(memory->second.end - memory->first), how);
}
void Work::use_words(const void* argument, size_t bytes) {
  for (size_t i = 0; i + sizeof(void*) <= bytes; i += sizeof(void*)) {
    const void* word;
    std::memcpy(&word, static_cast<const Byte*>(argument) + i, sizeof word);
    if (on_device(word)) use_all(word, Use::Write);
  }
}
void Work::allocate(const void* p, size_t bytes) {
  const Locked locked;
  const auto* begin = static_cast<const Byte*>(p);
  order().allocations[begin] = {begin + bytes, {}};
  use_all(p, Use::Write);
}
void Work::free(const void* p) {
  const Locked locked;
  use_all(p, Use::Write);
  order().allocations.erase(static_cast<const Byte*>(p));
}

}  // namespace simt

using simt::die, simt::order, simt::Use, simt::Work;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
  const simt::Locked locked;
  *s = new SimtStream{order().streams++, {}};
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  delete s;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  const simt::Locked locked;
  simt::host_waited(s->clock);
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t s) {
  if (simt::stuck || !std::exchange(s->asked, true)) return cudaErrorNotReady;
  return cudaStreamSynchronize(s);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
  const simt::Locked locked;
  s->clock.join(e->clock);
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  *e = new SimtEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  delete e;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  simt::begin_work(s);
  const simt::Locked locked;
  *e = {s->clock, true, false};
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t e) {
  const simt::Locked locked;
  if (e->recorded && (simt::stuck || !std::exchange(e->asked, true))) return cudaErrorNotReady;
  simt::host_waited(e->clock);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** p, size_t bytes) {
  const simt::Locked locked;
  *p = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  order().pinned[static_cast<unsigned char*>(*p)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* p) {
  const simt::Locked locked;
  if (!order().pinned.erase(static_cast<unsigned char*>(p)))
    die("free of memory that is not pinned");
  for (const simt::HostCopy& c : order().host_copies)
    if (!simt::is_pinned(c.host, c.bytes.size()))
      die("pinned memory was freed before a copy was over");
  std::free(p);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  Work work(stream, "a copy");
  const simt::Locked locked;
  const bool leaves = !simt::on_device(from), arrives = !simt::on_device(to);
  if (leaves) {
    if (!simt::is_pinned(from, bytes)) die("a copy from pageable memory waits for the GPU");
  } else {
    if (!simt::inside_allocation(from, bytes)) die("a copy reads past an allocation");
    work.use(from, bytes, Use::Read);
  }
  if (arrives) {
    if (!simt::is_pinned(to, bytes)) die("a copy to pageable memory waits for the GPU");
  } else {
    if (!simt::inside_allocation(to, bytes)) die("a copy writes past an allocation");
    work.use(to, bytes, Use::Write);
  }
  if (leaves || arrives) {
    const auto* source = static_cast<const unsigned char*>(from);
    order().host_copies.push_back(
        {stream->number,
         work.clock()[stream->number],
         arrives,
         static_cast<unsigned char*>(arrives ? to : const_cast<void*>(from)),
         {source, source + bytes}});
  }
  if (arrives) std::memset(to, 0xFF, bytes);
  else std::memmove(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  Work work(stream, "a fill");
  work.use(p, bytes, Use::Write);
  std::memset(p, value, bytes);
  return cudaSuccess;
}
