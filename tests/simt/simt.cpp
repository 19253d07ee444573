// The scheduler of the emulated GPU and its memory: see cuda_runtime.h.
#include <cuda_runtime.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

// Saves the running stack's registers on it and its top in *save, and goes on with another stack. (swapcontext
// would make system calls.)
extern "C" void simt_switch(void** save, void* to);
asm(R"(
.text
.type simt_switch, @function
simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size simt_switch, .-simt_switch
)");

namespace simt {

void die(const char* why) {
  std::fprintf(stderr, "emulated GPU: %s\n", why);
  std::abort();
}

namespace {

// --- memory ---------------------------------------------------------------------------------------------
// One reserved range. Every allocation is surrounded by bytes that must not change; new memory is NaN.
constexpr size_t kArena = size_t(1) << 36, kGuard = 512;
constexpr unsigned char kPoison = 0xFF;
struct Memory {
  std::recursive_mutex mutex;
  unsigned char* base = nullptr;
  size_t used = 0;  // bytes from the base that were ever handed out
  int open = 0;
  std::map<unsigned char*, size_t> live;          // by address
  std::multimap<size_t, unsigned char*> free_of;  // by size
  Memory() {
    void* p = mmap(nullptr, kArena, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) die("cannot reserve address space");
    base = static_cast<unsigned char*>(p);
  }
  void protect(int how) const {
    if (used && mprotect(base, used, how) != 0) die("mprotect failed");
  }
};
Memory& memory() {
  static Memory m;
  return m;
}

// NaN everywhere; big blocks have it at their ends only, as every page in use slows down protect().
void poison(unsigned char* block, size_t bytes) {
  constexpr size_t kEnd = 4096;
  if (bytes <= (16 << 20)) return void(std::memset(block, kPoison, bytes));
  madvise(block, bytes, MADV_DONTNEED);
  std::memset(block, kPoison, kEnd);
  std::memset(block + bytes - kEnd, kPoison, kEnd);
}

// --- fibers -----------------------------------------------------------------------------------------------
constexpr size_t kStack = 256 << 10;
enum class State { Ready, AtBlock, AtWarp, Waiting, Done };
struct Fiber {
  void* stack;  // its top while another one runs
  Place place;
  State state;
  unsigned mask;
};
struct Scheduler {
  std::vector<Fiber> fibers;
  std::vector<unsigned char*> stacks;
  std::vector<uint64_t> slots;  // 32 for each warp
  std::vector<unsigned char> shared;
  void* home = nullptr;
  Fiber* now = nullptr;
  bool advanced = false;  // a thread got what it waited for
  const std::function<void()>* thread = nullptr;
  ~Scheduler() {
    for (unsigned char* s : stacks) munmap(s, kStack);
  }

  void pause(State state) {
    now->state = state;
    simt_switch(&now->stack, home);
  }
  void resume(Fiber& f) {
    now = &f;
    place = f.place;
    f.state = State::Ready;
    simt_switch(&home, f.stack);
  }
};
thread_local Scheduler scheduler;

void fiber_main() {
  (*scheduler.thread)();
  scheduler.pause(State::Done);  // for good
}
// A stack that starts with fiber_main: what simt_switch takes off it, then the address to return to
void* new_stack(unsigned char* memory) {
  void** top = reinterpret_cast<void**>(memory + kStack) - 2;
  top[0] = reinterpret_cast<void*>(&fiber_main);
  std::fill(top - 6, top, nullptr);
  return top - 6;
}

// Until all of the warp's threads wait for the block, or are done
void run_warp(Scheduler& s, size_t first, size_t n) {
  const size_t end = std::min(n, first + 32);
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t i = first; i < end; ++i)
      if (s.fibers[i].state == State::Ready) s.resume(s.fibers[i]), moved = true;
    for (size_t i = first; i < end; ++i) {  // all lanes of a mask that are still running are here
      if (s.fibers[i].state != State::AtWarp) continue;
      const unsigned mask = s.fibers[i].mask;
      bool all = true;
      for (size_t l = first; l < end; ++l)
        if (mask >> (l - first) & 1)
          all &= s.fibers[l].state == State::Done ||
                 (s.fibers[l].state == State::AtWarp && s.fibers[l].mask == mask);
      if (!all) continue;
      for (size_t l = first; l < end; ++l)
        if (mask >> (l - first) & 1 && s.fibers[l].state == State::AtWarp)
          s.fibers[l].state = State::Ready, moved = true;
    }
  }
}

void run_block(Scheduler& s, dim3 grid, dim3 block, dim3 index) {
  const size_t n = size_t(block.x) * block.y * block.z;
  s.fibers.resize(std::max(s.fibers.size(), n));
  while (s.stacks.size() < n) {
    void* p = mmap(nullptr, kStack, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) die("no memory for a stack");
    s.stacks.push_back(static_cast<unsigned char*>(p));
  }
  s.slots.assign((n + 31) / 32 * 32, 0);
  for (size_t i = 0; i < n; ++i) {
    Fiber& f = s.fibers[i];
    f.stack = new_stack(s.stacks[i]);
    f.place = {dim3(unsigned(i % block.x), unsigned(i / block.x % block.y),
                    unsigned(i / block.x / block.y)),
               index, block, grid};
    f.state = State::Ready;
  }
  // Between two barriers of the block the warps run one after the other, each as far as it gets, in turns from
  // the first to the last and from the last to the first (every other block begins with these): a barrier that
  // is missing shows in the results.
  const size_t warps = (n + 31) / 32;
  int idle = 0;  // rounds in which nobody got anywhere
  bool forth = (index.x + index.y + index.z) % 2 == 0;
  for (bool running = true; running; forth = !forth) {
    s.advanced = false;
    for (size_t w = 0; w < warps; ++w) run_warp(s, 32 * (forth ? w : warps - 1 - w), n);
    const auto in = [&](State state) {
      return std::any_of(s.fibers.begin(), s.fibers.begin() + n,
                         [=](const Fiber& f) { return f.state == state; });
    };
    const bool waiting = in(State::Waiting);
    idle = waiting && !s.advanced ? idle + 1 : 0;
    if (idle > 100) die("threads wait for what never comes");
    if (!waiting && in(State::AtWarp))
      die("a warp operation that not every lane of its mask reaches");
    running = false;
    for (size_t i = 0; i < n;
         ++i)  // who waits looks again; the barrier opens when nobody is on the way
      if (s.fibers[i].state == (waiting ? State::Waiting : State::AtBlock))
        s.fibers[i].state = State::Ready, running = true;
  }
}

}  // namespace

thread_local Place place;

DeviceAccess::DeviceAccess() {
  memory().mutex.lock();
  // Opening and closing takes most of the time of a long test: EMULATED_GPU_OPEN leaves it open.
  if (memory().open == 0 && std::getenv("EMULATED_GPU_OPEN"))
    ++memory().open, memory().protect(PROT_READ | PROT_WRITE);
  if (memory().open++ == 0) memory().protect(PROT_READ | PROT_WRITE);
}
DeviceAccess::~DeviceAccess() {
  if (--memory().open == 0) memory().protect(PROT_NONE);
  memory().mutex.unlock();
}

bool on_device(const void* p) {
  const auto* byte = static_cast<const unsigned char*>(p);
  return byte >= memory().base && byte < memory().base + kArena;
}
bool inside_allocation(const void* p, size_t bytes) {
  const DeviceAccess access;
  auto* const from = static_cast<unsigned char*>(const_cast<void*>(p));
  const auto next = memory().live.upper_bound(from);
  if (next == memory().live.begin()) return false;
  const auto& [block, size] = *std::prev(next);
  return from + bytes <= block + size;
}

void block_barrier() { scheduler.pause(State::AtBlock); }
void yield() { scheduler.pause(State::Waiting); }
void advanced() { scheduler.advanced = true; }
void warp_barrier(unsigned mask) {
  scheduler.now->mask = mask;
  scheduler.pause(State::AtWarp);
}
uint64_t* warp_slots() {
  return scheduler.slots.data() + (scheduler.now - scheduler.fibers.data()) / 32 * 32;
}
void* dynamic_shared() {  // 1024-byte aligned
  const auto p = reinterpret_cast<uintptr_t>(scheduler.shared.data());
  return reinterpret_cast<void*>((p + 1023) / 1024 * 1024);
}

void run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread) {
  const DeviceAccess access;
  Scheduler& s = scheduler;
  s.thread = &thread;
  blockDim = block, gridDim = grid;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        s.shared.assign(shared_bytes + 1024, kPoison);
        run_block(s, grid, block, dim3(x, y, z));
      }
}

}  // namespace simt

constinit thread_local dim3 blockDim, gridDim;

using simt::memory;

// One GPU, or as many as EMULATED_GPUS says.
cudaError_t cudaGetDeviceCount(int* n) {
  const char* count = std::getenv("EMULATED_GPUS");
  return *n = count ? std::atoi(count) : 1, cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* id, int size, int device) {
  std::snprintf(id, size_t(size), "%d", device);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr what, int) {
  *value = what == cudaDevAttrMultiProcessorCount            ? 4
           : what == cudaDevAttrComputeCapabilityMajor       ? 9
           : what == cudaDevAttrMaxSharedMemoryPerBlockOptin ? 227 * 1024
                                                             : 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  *p = {"emulated GPU", 9, 0, 4, simt::kArena};
  return cudaSuccess;
}

cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t stream) {
  simt::Work work(stream, "an allocation");
  auto& m = memory();
  const size_t whole = (bytes + 2 * simt::kGuard + 4095) / 4096 * 4096;
  const auto found = m.free_of.find(whole);
  unsigned char* block = m.base + m.used;
  if (found != m.free_of.end()) {
    block = found->second;
    m.free_of.erase(found);
  } else {
    if (m.used + whole > simt::kArena) return cudaErrorMemoryAllocation;
    m.used += whole;
    m.protect(PROT_READ | PROT_WRITE);
  }
  simt::poison(block, whole);
  m.live[block + simt::kGuard] = bytes;
  *p = block + simt::kGuard;
  work.allocate(*p, bytes);
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  simt::Work work(stream, "a free");
  auto& m = memory();
  const auto found = m.live.find(static_cast<unsigned char*>(p));
  if (found == m.live.end()) simt::die("free of an address that was never allocated");
  const size_t bytes = found->second, whole = (bytes + 2 * simt::kGuard + 4095) / 4096 * 4096;
  unsigned char* block = found->first - simt::kGuard;
  for (size_t i = 0; i < whole; ++i)
    if ((i < simt::kGuard || i >= simt::kGuard + bytes) && block[i] != simt::kPoison)
      simt::die("a kernel wrote next to an allocation");
  work.free(p);
  if (whole > (1 << 20))
    madvise(block, whole, MADV_DONTNEED);  // every page in use slows down protect()
  m.live.erase(found);
  m.free_of.emplace(whole, block);
  return cudaSuccess;
}
