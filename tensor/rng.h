// Counter-based random numbers: Philox 4x32-10 (Salmon et al. 2011). A draw is a pure function of
// (seed, site, update, micro-batch, rank, element): the same on CPU and GPU and at every process count,
// and the same again when activation checkpointing replays a forward pass.
#pragma once
#include <cstdint>
#include <string_view>

#include "tensor/vmath.h"

namespace switchyard {

struct RandomStream {
  uint64_t key = 0;     // hash of (seed, site)
  uint64_t stream = 0;  // hash of (update, micro-batch, rank)
};

inline uint64_t mix64(uint64_t x) {  // splitmix64's finaliser
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}
inline uint64_t hash_text(std::string_view text, uint64_t h = 0xCBF29CE484222325ull) {  // FNV-1a
  for (unsigned char c : text) h = (h ^ c) * 0x100000001B3ull;
  return h;
}
// site: where the draw is made, e.g. "decoder/3/moe/round1/gumbel".
inline RandomStream random_stream(uint64_t seed, std::string_view site, int64_t update = 0,
                                  int64_t micro_batch = 0, int64_t rank = 0) {
  uint64_t s = mix64(uint64_t(update));
  s = mix64(s ^ uint64_t(micro_batch));
  return {mix64(seed) ^ mix64(hash_text(site)), mix64(s ^ uint64_t(rank))};
}

// out[4 b + lane] = the draws of blocks first + b, b < Blocks; side by side they fill vector registers.
template <int Blocks>
HD void philox(RandomStream r, uint64_t first, uint32_t* out) {
  alignas(32) uint32_t c0[Blocks], c1[Blocks], c2[Blocks], c3[Blocks];
  for (int b = 0; b < Blocks; ++b) {
    c0[b] = uint32_t(first + b), c1[b] = uint32_t((first + b) >> 32);
    c2[b] = uint32_t(r.stream), c3[b] = uint32_t(r.stream >> 32);
  }
  uint32_t k0 = uint32_t(r.key), k1 = uint32_t(r.key >> 32);
  for (int round = 0; round < 10; ++round) {
#pragma GCC ivdep
    for (int b = 0; b < Blocks; ++b) {
      const uint64_t p0 = uint64_t(0xD2511F53u) * c0[b], p1 = uint64_t(0xCD9E8D57u) * c2[b];
      c0[b] = uint32_t(p1 >> 32) ^ c1[b] ^ k0, c1[b] = uint32_t(p1);
      c2[b] = uint32_t(p0 >> 32) ^ c3[b] ^ k1, c3[b] = uint32_t(p0);
    }
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  for (int b = 0; b < Blocks; ++b)
    out[4 * b] = c0[b], out[4 * b + 1] = c1[b], out[4 * b + 2] = c2[b], out[4 * b + 3] = c3[b];
}

// 32 random bits for element i: block i/4 of the stream, lane i%4.
HD uint32_t random_bits(RandomStream r, uint64_t i) {
  uint32_t block[4];
  philox<1>(r, i >> 2, block);
  return block[i & 3];
}
HD float unit_float(uint32_t bits) { return float(bits >> 8) * 0x1p-24f; }  // [0, 1)
// (0, 1)
HD float open_unit_float(uint32_t bits) { return (float(bits >> 9) + 0.5f) * 0x1p-23f; }

// Sequential draws from one stream on the host: data order, sampling.
class RandomSequence {
 public:
  explicit RandomSequence(RandomStream stream) : stream_(stream) {}
  uint32_t bits() { return random_bits(stream_, next_++); }
  double unit() { return (uint64_t(bits()) << 21 | bits() >> 11) * 0x1p-53; }  // [0, 1)
  uint64_t below(uint64_t n) {  // uniform integer in [0, n)
    return uint64_t((unsigned __int128)(uint64_t(bits()) << 32 | bits()) * n >> 64);
  }

 private:
  RandomStream stream_;
  uint64_t next_ = 0;
};

}  // namespace switchyard
