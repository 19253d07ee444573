// A job of many collectives whose result must have the same bits however the ranks are carried.
#pragma once
#include <cstring>
#include <random>

#include "dist/grad_sync.h"
#include "dist/mesh.h"
#include "dist/runtime.h"
#include "tensor/allocator.h"

namespace switchyard::dist {

class Digest {
 public:
  void add(const void* data, size_t bytes) {
    const char* at = static_cast<const char*>(data);
    for (; bytes > 0; at += std::min<size_t>(bytes, 8), bytes -= std::min<size_t>(bytes, 8)) {
      uint64_t word = bytes;
      std::memcpy(&word, at, std::min<size_t>(bytes, 8));
      value_ = (value_ ^ word) * 0x9e3779b97f4a7c15ull;
      value_ ^= value_ >> 29;
    }
  }
  void add(const Tensor& t) { add(t.raw(), t.bytes()); }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 1469598103934665603ull;
};

inline Tensor random_tensor(Shape shape, uint64_t seed) {
  Tensor t = Tensor::empty(shape);
  uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
  for (int64_t i = 0; i < t.numel(); ++i) {  // magnitudes over many powers of two: sums round
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    t.data<float>()[i] = float(int64_t(state) >> 32) * float(1 << (i % 13)) * 1e-6f;
  }
  return t;
}

// Random rows to random members, with empty ones; checks what arrives.
inline void random_exchange(const Comm& comm, int round, ExchangeMode mode, Digest& digest) {
  const int n = comm.size(), me = comm.rank();
  const auto count = [&](int from, int to) {  // known to both sides
    std::mt19937 generator(uint32_t(round * 7919 + from * 131 + to));
    return int64_t(generator() % 4 == 0 ? 0 : generator() % 17);
  };
  std::vector<int64_t> send, receive, told;
  for (int m = 0; m < n; ++m) {
    send.push_back(count(me, m));
    receive.push_back(count(m, me));
  }
  told = comm.all_to_all_counts(send);
  check(told == receive, "counts");
  std::vector<float> rows;
  for (int m = 0; m < n; ++m) {
    for (int64_t i = 0; i < send[m]; ++i) {
      for (int j = 0; j < 5; ++j) rows.push_back(float(me * 10000 + m * 100 + i * 5 + j));
    }
  }
  const Tensor out =
      comm.all_to_all_v(Tensor::of(rows, {int64_t(rows.size()) / 5, 5}), send, receive, mode, 17);
  const float* at = out.data<float>();
  for (int m = 0; m < n; ++m) {
    for (int64_t i = 0; i < receive[m]; ++i) {
      for (int j = 0; j < 5; ++j) {
        check(*at++ == float(m * 10000 + me * 100 + i * 5 + j), "a row arrived that was not sent");
      }
    }
  }
  check(at == out.data<float>() + out.numel(), "rows");
  digest.add(out);
}

// Returns the digest of all ranks' results, the same on all ranks.
inline uint64_t run_job(Runtime& rt, int rounds) {
  Digest digest;
  const Comm& world = rt.world;
  const int n = world.size(), me = world.rank();
  const Comm backwards = world.split(0, -me);
  const Comm parity = world.split(me % 2, me);
  const Comm nested = parity.split(parity.rank() / 2, parity.rank());
  const Comm* comms[] = {&world, &backwards, &parity, &nested};
  for (int round = 0; round < rounds; ++round) {
    for (const Comm* comm : comms) {
      for (int64_t size : {0, 1, 3, 1000, 5000, 20011}) {
        Tensor t = random_tensor({size}, uint64_t(round) * 1000 + me);
        comm->all_reduce(t);
        digest.add(t);
        comm->all_reduce(t, Reduce::Max);
        digest.add(t);
      }
      digest.add(comm->reduce_scatter(random_tensor({comm->size() * 3, 700}, uint64_t(me) + 1)));
      digest.add(comm->all_gather(random_tensor({3, 70 + round}, uint64_t(me) + 2)));
      for (const std::string& s :
           comm->all_gather_bytes(std::string(me % 3 * 50, char('a' + me)))) {
        digest.add(s.data(), s.size());
      }
      Tensor b = random_tensor({5000}, uint64_t(me) + 3);
      comm->broadcast(b, round % comm->size());
      digest.add(b);
      Tensor s = Tensor::of<double>({0.1 * me + round});
      comm->all_reduce(s);
      digest.add(s);
      const int64_t numbers[] = {comm->all_reduce(me, Reduce::Max),
                                 comm->all_reduce(me, Reduce::Min),
                                 comm->all_reduce(int64_t(me), Reduce::Sum)};
      digest.add(numbers, sizeof numbers);
      comm->barrier();
      random_exchange(*comm, round, ExchangeMode::Rows, digest);
      random_exchange(*comm, round + 100, ExchangeMode::Padded, digest);
    }
  }
  const Mesh mesh = make_mesh(world, n % 2 == 0 ? n / 2 : n);  // replicas where n is even
  std::vector<GradEntry> entries = {
      {random_tensor({7, 999}, uint64_t(me)), false},
      {random_tensor({1}, uint64_t(me) + 9), false},
      {random_tensor({mesh.layout.num_local(), 5000}, uint64_t(me) + 5), true}};
  sync_gradients(mesh, entries);
  for (const GradEntry& e : entries) digest.add(e.grad);
  const double norm = gradient_norm(mesh.expert, entries);
  check(
      world.all_reduce(int64_t(norm), Reduce::Max) == world.all_reduce(int64_t(norm), Reduce::Min),
      "norms differ");
  digest.add(&norm, sizeof norm);

  Digest all;
  for (const std::string& s : world.all_gather_bytes(concat(digest.value())))
    all.add(s.data(), s.size());
  return all.value();
}

}  // namespace switchyard::dist
