// Hopper's mbarriers, TMA and wgmma on the emulated GPU, after the PTX ISA. A fetch lands at once; a product reads
// its operands at the wait for its group, so that a stage which is given back too early shows.
#pragma once
#include "tensor/cuda/grouped_tiles.h"
#include "tests/simt/mma.h"

namespace simt {

struct __attribute__((may_alias)) Barrier {
  int32_t bytes;  // announced and not there
  uint16_t pending;
  uint16_t count : 15, parity : 1;
  void settle() {
    if (pending == 0 && bytes == 0) pending = count, parity ^= 1;
  }
};
static_assert(sizeof(Barrier) == 8);
inline Barrier& barrier(uint64_t* b) { return *reinterpret_cast<Barrier*>(b); }

struct Wgmma {
  float* d;
  uint64_t a, b;
  bool add, a_k_major, b_k_major;
  void run() const;
};
struct Wgmmas {
  std::deque<std::vector<Wgmma>> groups;
  std::vector<Wgmma> open;
};
inline thread_local Wgmmas wgmmas[1024];

// Element (mn, k) of an operand in shared memory: address bits 4-6 are XORed with bits 7-9.
inline float operand(uint64_t descriptor, bool k_major, int mn, int k) {
  const auto field = [&](int bit) { return uint32_t(descriptor >> bit & 0x3FFF) * 16; };
  const uint32_t plain =
      field(0) + (k_major ? mn / 8 * field(32) + mn % 8 * 128 + k * 2
                          : mn / 64 * field(16) + k / 8 * field(32) + k % 8 * 128 + mn % 64 * 2);
  uint16_t bits;
  std::memcpy(&bits,
              static_cast<unsigned char*>(dynamic_shared()) + (plain ^ (plain >> 7 & 7) << 4), 2);
  return from_bf16(bits);
}
inline void Wgmma::run() const {  // m64n256k16: warp w of the four has rows 16 w ...
  const int row = thread_index() / 32 % 4 * 16 + lane() / 4;
  float own[2][16];
  for (int half = 0; half < 2; ++half)
    for (int k = 0; k < 16; ++k) own[half][k] = operand(a, a_k_major, row + 8 * half, k);
  for (int i = 0; i < 128; i += 4)
    for (int j = 0; j < 2; ++j) {
      float sum[2] = {add ? d[i + j] : 0, add ? d[i + 2 + j] : 0};
      for (int k = 0; k < 16; ++k) {
        const float other = operand(b, b_k_major, i / 4 * 8 + lane() % 4 * 2 + j, k);
        sum[0] += own[0][k] * other;
        sum[1] += own[1][k] * other;
      }
      d[i + j] = sum[0], d[i + 2 + j] = sum[1];
    }
}

struct NamedBarrier {
  int arrived, generation;
};
inline thread_local NamedBarrier named_barrier;

}  // namespace simt

#define SWITCHYARD_WGMMA 1

namespace switchyard::cuda {

inline uint32_t shared_address(const void* p) {
  return uint32_t(static_cast<const unsigned char*>(p) -
                  static_cast<unsigned char*>(simt::dynamic_shared()));
}

inline void barrier_init(uint64_t* b, int arrivals) {
  simt::barrier(b) = {0, uint16_t(arrivals), uint16_t(arrivals), 0};
}
inline void barrier_init_fence() {}
inline void barrier_arrive(uint64_t* b) {
  if (simt::barrier(b).pending-- == 0) simt::die("one arrival too many at an mbarrier");
  simt::barrier(b).settle();
}
inline void barrier_expect(uint64_t* b, int bytes) {
  simt::barrier(b).bytes += bytes;
  barrier_arrive(b);
}
inline void barrier_wait(uint64_t* b, uint32_t parity) {
  simt::wait_until([&] { return simt::barrier(b).parity != parity; });
}
template <int threads>
void barrier_of_warps() {
  auto& b = simt::named_barrier;
  const int generation = b.generation;
  if (++b.arrived == threads) b.arrived = 0, ++b.generation;
  simt::wait_until([&] { return b.generation != generation; });
}
inline void proxy_fence() {}
template <int registers>
void give_registers() {}
template <int registers>
void take_registers() {}

inline void tma_fetch(void* to, const CUtensorMap* map, uint64_t* b, int column, int row,
                      int group) {
  if (shared_address(to) % 1024 || column < 0 || row < 0 || group < 0)
    simt::die("a box that TMA does not fetch");
  for (int line = 0; line < map->box_rows; ++line)
    for (int i = 0; i < 64; ++i) {
      const bool inside =
          row + line < map->rows && column + i < map->columns && group < map->groups;
      const uint16_t value =
          inside ? map->data[(group * map->rows + row + line) * map->columns + column + i]
                 : uint16_t(0);
      const uint32_t plain = line * 128 + i * 2;
      std::memcpy(static_cast<unsigned char*>(to) + (plain ^ (plain >> 7 & 7) << 4), &value, 2);
    }
  simt::barrier(b).bytes -= map->box_rows * 128;
  simt::barrier(b).settle();
}

inline void wgmma_fence() {}
inline void wgmma_commit() {
  auto& own = simt::wgmmas[simt::thread_index()];
  own.groups.push_back(std::move(own.open));
  own.open.clear();
}
template <int pending>
void wgmma_wait() {
  auto& groups = simt::wgmmas[simt::thread_index()].groups;
  for (; groups.size() > pending; groups.pop_front())
    for (const auto& product : groups.front()) product.run();
}
inline void hold(float (&)[128]) {}
template <bool a_k_major, bool b_k_major>
void wgmma_64x256x16(float (&d)[128], uint64_t a, uint64_t b, bool add) {
  simt::wgmmas[simt::thread_index()].open.push_back({d, a, b, add, a_k_major, b_k_major});
}

}  // namespace switchyard::cuda
