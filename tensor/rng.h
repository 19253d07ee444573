// Counter-based random numbers: Philox 4x32-10 (Salmon et al. 2011). A draw is a pure function of
// (seed, site, update, micro-batch, rank, element): the same on CPU and GPU and at every process count,
// and the same again when activation checkpointing replays a forward pass.
#pragma once
#include <cstdint>
#include <string_view>

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

struct Philox4 {
  uint32_t v[4];
};
inline Philox4 philox(uint64_t key, uint64_t counter_lo, uint64_t counter_hi) {
  uint32_t c[4] = {uint32_t(counter_lo), uint32_t(counter_lo >> 32), uint32_t(counter_hi),
                   uint32_t(counter_hi >> 32)};
  uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t(0xD2511F53u) * c[0], p1 = uint64_t(0xCD9E8D57u) * c[2];
    const uint32_t n0 = uint32_t(p1 >> 32) ^ c[1] ^ k0, n2 = uint32_t(p0 >> 32) ^ c[3] ^ k1;
    c[0] = n0, c[1] = uint32_t(p1), c[2] = n2, c[3] = uint32_t(p0);
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return {{c[0], c[1], c[2], c[3]}};
}

// 32 random bits for element i: block i/4 of the stream, lane i%4.
inline uint32_t random_bits(RandomStream r, uint64_t i) {
  return philox(r.key, i >> 2, r.stream).v[i & 3];
}
inline float unit_float(uint32_t bits) { return float(bits >> 8) * 0x1p-24f; }               // [0, 1)
inline float open_unit_float(uint32_t bits) { return (float(bits >> 9) + 0.5f) * 0x1p-23f; } // (0, 1)

// Sequential draws from one stream on the host: data order, sampling.
class RandomSequence {
 public:
  explicit RandomSequence(RandomStream stream) : stream_(stream) {}
  uint32_t bits() { return random_bits(stream_, next_++); }
  double unit() { return (uint64_t(bits()) << 21 | bits() >> 11) * 0x1p-53; }                // [0, 1)
  uint64_t below(uint64_t n) {  // uniform integer in [0, n)
    return uint64_t((unsigned __int128)(uint64_t(bits()) << 32 | bits()) * n >> 64);
  }

 private:
  RandomStream stream_;
  uint64_t next_ = 0;
};

}  // namespace switchyard
