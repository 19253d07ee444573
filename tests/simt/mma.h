// The tensor-core instructions on the emulated GPU, after the PTX ISA's tables. cp.async lands at the wait for
// its group and not before: until then its place holds NaN.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <deque>

#include "tensor/dtype.h"

namespace simt {

inline int thread_index() {
  return int(place.thread.x +
             place.block_size.x * (place.thread.y + place.block_size.y * place.thread.z));
}

// Every lane gives a value and sees those of all. Two sets of places in turn: who writes a set for the second
// time has passed the barrier of the other, before which everybody has read the first.
struct LaneValues {
  alignas(8) unsigned char bytes[2][32];
  int turn;
};
inline thread_local LaneValues lane_values[1024];
template <class T, class F>
void warp_gather(const T& own, const F& use) {
  static_assert(sizeof(T) <= 32);
  LaneValues* warp = lane_values + thread_index() / 32 * 32;
  const int turn = warp[lane()].turn ^= 1;
  std::memcpy(warp[lane()].bytes[turn], &own, sizeof(T));
  warp_barrier(~0u);
  use([=](int l) -> const T& { return *reinterpret_cast<const T*>(warp[l].bytes[turn]); });
}

struct AsyncCopy {
  void* to;
  const void* from;  // null: zeros
};
struct AsyncCopies {
  std::deque<std::vector<AsyncCopy>> groups;
  std::vector<AsyncCopy> open;
};
inline thread_local AsyncCopies async_copies[1024];

inline float from_bf16(uint32_t bits) { return std::bit_cast<float>(bits << 16); }

}  // namespace simt

namespace switchyard::cuda {

inline unsigned char* dynamic_shared() {
  return static_cast<unsigned char*>(simt::dynamic_shared());
}

template <bool transposed>
void ldmatrix(uint32_t (&r)[4], const void* row) {
  if (reinterpret_cast<uintptr_t>(row) % 16) std::abort();
  const int lane = simt::lane();
  simt::warp_gather(row, [&](auto address) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      uint16_t pair[2];
      for (int i = 0; i < 2; ++i) {
        const int major = lane / 4, minor = 2 * (lane % 4) + i;
        const int at_row = transposed ? minor : major, at_column = transposed ? major : minor;
        pair[i] = static_cast<const uint16_t*>(address(8 * matrix + at_row))[at_column];
      }
      r[matrix] = pair[0] | uint32_t(pair[1]) << 16;
    }
  });
}

// Fragments of mma.m16n8k16, PTX ISA: groupID = lane / 4, threadID_in_group = lane % 4
inline void mma_bf16(float* c, const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  struct Own {
    uint32_t a[4], b[2];
  } own = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
  simt::warp_gather(own, [&](auto of) {
    const auto half = [](const uint32_t* r, int i) {
      return simt::from_bf16(r[i / 2] >> (i % 2 * 16) & 0xFFFF);
    };
    const auto a_at =
        [&](int row, int k) {  // a0,a1 a4,a5: row groupID; a2,a3 a6,a7: groupID + 8; a4..: k + 8
          return half(of(row % 8 * 4 + k % 8 / 2).a, k % 2 + row / 8 * 2 + k / 8 * 4);
        };
    const auto b_at = [&](int k, int column) {  // b0,b1: k = 2 threadID_in_group + i; b2,b3: k + 8
      return half(of(column * 4 + k % 8 / 2).b, k % 2 + k / 8 * 2);
    };
    const int lane = simt::lane();
    for (int i = 0; i < 4; ++i) {  // c0,c1: row groupID; c2,c3: groupID + 8
      const int row = lane / 4 + (i < 2 ? 0 : 8), column = lane % 4 * 2 + (i & 1);
      for (int k = 0; k < 16; ++k) c[i] += a_at(row, k) * b_at(k, column);
    }
  });
}

inline void cp_async_16(void* to, const void* from, bool live) {
  if (reinterpret_cast<uintptr_t>(to) % 16 || reinterpret_cast<uintptr_t>(from) % 16) std::abort();
  std::memset(to, 0xFF, 16);
  simt::async_copies[simt::thread_index()].open.push_back({to, live ? from : nullptr});
}
inline void cp_async_commit() {
  auto& own = simt::async_copies[simt::thread_index()];
  own.groups.push_back(std::move(own.open));
  own.open.clear();
}
template <int pending>
void cp_async_wait() {
  auto& groups = simt::async_copies[simt::thread_index()].groups;
  for (; groups.size() > pending; groups.pop_front())
    for (const auto& copy : groups.front()) {
      if (copy.from) std::memcpy(copy.to, copy.from, 16);
      else std::memset(copy.to, 0, 16);
    }
}

inline uint32_t pack_bf16(float low, float high) {
  return BFloat16(low).bits | uint32_t(BFloat16(high).bits) << 16;
}

}  // namespace switchyard::cuda
