// The collectives over thread ranks against what they should give.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "job.h"

namespace switchyard::dist {
namespace {

constexpr int kRanks[] = {1, 2, 3, 4, 7, 8};

// In tests of the ranks themselves ASSERTs of gtest are not used: check() throws and run_ranks rethrows.
template <class T>
void check_equal(const T& a, const T& b,
                 std::source_location at = std::source_location::current()) {
  check(a == b, "values differ", at);
}

TEST(Comm, AllReduceOfAllTypes) {
  for (int n : kRanks) {
    run_ranks(n, [n](Runtime& rt) {
      const int me = rt.world.rank();
      for (int64_t size : {0, 1, 7, 2000, 30001}) {
        const auto run = [&](auto zero, Reduce op, auto expected) {
          using T = decltype(zero);
          std::vector<T> x(size);
          for (int64_t i = 0; i < size; ++i) x[i] = T(me * 3 + i % 11);
          Tensor t = Tensor::of(x, {size});
          rt.world.all_reduce(t, op);
          for (int64_t i = 0; i < size; ++i) check_equal(t.data<T>()[i], T(expected(i % 11)));
        };
        const auto sum = [&](int64_t i) { return n * (n - 1) / 2 * 3 + n * i; };
        const auto max = [&](int64_t i) { return (n - 1) * 3 + i; };
        const auto min = [&](int64_t i) { return i; };
        run(float{}, Reduce::Sum, sum);
        run(double{}, Reduce::Sum, sum);
        run(int32_t{}, Reduce::Sum, sum);
        run(int64_t{}, Reduce::Sum, sum);
        run(float{}, Reduce::Max, max);
        run(int64_t{}, Reduce::Max, max);
        run(double{}, Reduce::Min, min);
        run(int32_t{}, Reduce::Min, min);
      }
    });
  }
}

TEST(Comm, SumsAreTheTree) {
  for (int n : kRanks) {
    for (int64_t size : {5, 4099}) {  // gathered; reduced in segments
      run_ranks(n, [&](Runtime& rt) {
        std::vector<float> level;
        Tensor t = random_tensor({size}, uint64_t(rt.world.rank()));
        rt.world.all_reduce(t);
        std::vector<Tensor> x;
        for (int m = 0; m < n; ++m) x.push_back(random_tensor({size}, uint64_t(m)));
        for (int step = 1; step < n; step *= 2) {  // x[m] = the tree over the aligned block at m
          for (int m = 0; m + step < n; m += 2 * step) {
            for (int64_t i = 0; i < size; ++i)
              x[m].data<float>()[i] += x[m + step].data<float>()[i];
          }
        }
        check(std::memcmp(x[0].raw(), t.raw(), t.bytes()) == 0, "not the tree");
      });
    }
  }
}

TEST(Comm, GatherScatterBroadcastAndNumbers) {
  for (int n : kRanks) {
    run_ranks(n, [n](Runtime& rt) {
      const Comm& comm = rt.world;
      const int me = comm.rank();
      for (int64_t rows : {0, 1, 5}) {
        const Tensor all = comm.all_gather(Tensor::full({rows, 3}, me));
        check_equal(all.shape(), Shape{n * rows, 3});
        for (int64_t i = 0; i < all.numel(); ++i)
          check_equal(all.data<float>()[i], float(i / (rows * 3)));
        std::vector<float> x;
        for (int64_t i = 0; i < n * rows * 2; ++i) x.push_back(float(i + me));
        const Tensor mine = comm.reduce_scatter(Tensor::of(x, {n * rows, 2}));
        check_equal(mine.shape(), Shape{rows, 2});
        for (int64_t i = 0; i < mine.numel(); ++i) {
          check_equal(mine.data<float>()[i], float(n * (me * rows * 2 + i) + n * (n - 1) / 2));
        }
      }
      for (int root = 0; root < n; ++root) {
        Tensor b = Tensor::full({3, 100}, me * 10 + 1);
        comm.broadcast(b, root);
        check_equal(b.to_vector<float>(), std::vector<float>(300, float(root * 10 + 1)));
        Tensor none = Tensor::zeros({0, 4});
        comm.broadcast(none, root);
      }
      const std::vector<std::string> strings = comm.all_gather_bytes(std::string(me, 'x'));
      for (int m = 0; m < n; ++m) check_equal(strings[m], std::string(m, 'x'));
      check_equal(comm.all_reduce(me, Reduce::Max), int64_t(n - 1));
      check_equal(comm.all_reduce(me - 5, Reduce::Min), int64_t(-5));
      check_equal(comm.all_reduce(int64_t(me), Reduce::Sum), int64_t(n * (n - 1) / 2));
    });
  }
}

TEST(Comm, RandomExchanges) {
  for (int n : kRanks) {
    run_ranks(n, [](Runtime& rt) {
      Digest digest;
      for (int round = 0; round < 60; ++round) {
        random_exchange(rt.world, round, round % 2 ? ExchangeMode::Padded : ExchangeMode::Rows,
                        digest);
      }
    });
  }
}

TEST(Comm, SplitsKeepTheKeysOrderAndNest) {
  run_ranks(8, [](Runtime& rt) {
    const int me = rt.world.rank();
    const Comm half = rt.world.split(me % 2, -me);
    check_equal(half.size(), 4);
    check_equal(half.rank(), 3 - me / 2);
    check_equal(half.world_rank(0), 6 + me % 2);
    const Comm pair = half.split(half.rank() / 2, half.rank());
    check_equal(pair.size(), 2);
    check_equal(pair.all_reduce(int64_t(me), Reduce::Sum),
                int64_t(pair.world_rank(0) + pair.world_rank(1)));
    const Comm alone = pair.split(pair.rank(), 0);
    check_equal(alone.size(), 1);
    check_equal(alone.all_reduce(int64_t(me), Reduce::Sum), int64_t(me));
    for (int i = 0; i < 50; ++i) check_equal(rt.world.split(me % 3, i).size(), me % 3 == 2 ? 2 : 3);
  });
}

TEST(Comm, ManyRanksOnFewCpus) {
  uint64_t first = 0;
  run_ranks(16, [&](Runtime& rt) {
    const uint64_t digest = run_job(rt, 1);
    if (rt.world.rank() == 0) first = digest;
  });
  run_ranks(16, [&](Runtime& rt) { check_equal(run_job(rt, 1), first); });
}

// The meter's formulas (comm.h), n = 4 ranks on 2 nodes.
TEST(Comm, MeterCountsTheFormulas) {
  run_ranks(
      4,
      [](Runtime& rt) {
        const Comm& comm = rt.world;
        const int me = comm.rank();
        CommMeter& meter = comm.meter();
        const auto expect = [&](const char* kind, Level level, int64_t messages, int64_t bytes) {
          const CommMeter::Traffic& t = meter.entries[{kind, level}];
          check_equal(t.carried_bytes, int64_t{0});
          check(t.messages == messages && t.bytes == bytes,
                concat(kind, " ", int(level), ": ", t.messages, " messages ", t.bytes, " bytes"));
        };
        meter.reset();
        Tensor t = Tensor::zeros({1000});
        comm.all_reduce(t);  // 2 (n-1)/n of 4,000 bytes, a third of it to the neighbour
        expect("all_reduce", Level::Node, 2, 2000);
        expect("all_reduce", Level::Cluster, 4, 4000);
        comm.broadcast(t, 0);
        expect("broadcast", Level::Node, me == 0 ? 1 : 0, me == 0 ? 4000 : 0);
        expect("broadcast", Level::Cluster, me == 0 ? 2 : 0, me == 0 ? 8000 : 0);
        comm.all_gather(Tensor::zeros({10}));
        expect("all_gather", Level::Node, 1, 40);
        expect("all_gather", Level::Cluster, 2, 80);
        comm.reduce_scatter(Tensor::zeros({40}));
        expect("reduce_scatter", Level::Cluster, 2, 80);
        comm.barrier();
        expect("barrier", Level::Cluster, 2, 0);
        comm.all_to_all_counts(std::vector<int64_t>(8, 1));
        expect("counts", Level::Cluster, 2, 32);
        // rank r sends 1 row of 8 bytes to itself and 2 rows to rank r+1
        std::vector<int64_t> send(4, 0), receive(4, 0);
        send[me] = receive[me] = 1;
        send[(me + 1) % 4] = receive[(me + 3) % 4] = 2;
        const Tensor rows = Tensor::zeros({3, 2});
        comm.all_to_all_v(rows, send, receive);
        expect("all_to_all", Level::Rank, 1, 8);
        expect("all_to_all", Level::Node, me % 2 == 0 ? 1 : 0, me % 2 == 0 ? 16 : 0);
        expect("all_to_all", Level::Cluster, me % 2 == 1 ? 1 : 0, me % 2 == 1 ? 16 : 0);
        meter.reset();
        comm.all_to_all_v(rows, send, receive, ExchangeMode::Padded, 5);
        expect("all_to_all", Level::Rank, 1, 40);
        expect("all_to_all", Level::Node, 1, 40);
        expect("all_to_all", Level::Cluster, 2, 80);
        check(meter.seconds > 0, "no time");
      },
      2);
}

TEST(Comm, AFailingRankReleasesTheOthers) {
  for (int n : {2, 4, 8}) {
    const auto start = std::chrono::steady_clock::now();
    std::atomic<int> aborted = 0;
    EXPECT_THROW(run_ranks(n,
                           [&](Runtime& rt) {
                             const Comm part = rt.world.split(0, rt.world.rank());
                             if (rt.world.rank() == 1) throw std::invalid_argument("no");
                             try {
                               Tensor t = Tensor::zeros({100000});
                               for (;;) part.all_reduce(t);
                             } catch (const Aborted&) {
                               ++aborted;
                               throw;
                             }
                           }),
                 std::invalid_argument);
    EXPECT_EQ(aborted, n - 1);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  }
}

// Ranks that fail at any moment while others read their memory in place: address and thread sanitizer.
TEST(Comm, FailingInTheMiddleIsSafe) {
  for (int round = 0; round < 40; ++round) {
    EXPECT_THROW(run_ranks(5,
                           [&](Runtime& rt) {
                             for (int i = 0;; ++i) {
                               Tensor t = Tensor::zeros({20000});
                               if (rt.world.rank() == round % 5 && i == round)
                                 throw UserError("stop");
                               if (i % 2) rt.world.all_reduce(t);
                               else rt.world.all_gather(t);
                             }
                           }),
                 UserError);
  }
}

TEST(Comm, DisagreementsAreErrors) {
  EXPECT_THROW(run_ranks(3,
                         [](Runtime& rt) {
                           Tensor t = Tensor::zeros({rt.world.rank() == 1 ? 2000 : 3000});
                           rt.world.all_reduce(t);
                         }),
               Error);
  EXPECT_THROW(run_ranks(2,
                         [](Runtime& rt) {
                           const std::vector<int64_t> one(2, 1), two(2, 2);
                           rt.world.all_to_all_v(Tensor::zeros({2, 3}), one, two);
                         }),
               Error);
  EXPECT_THROW(
      run_ranks(2,
                [](Runtime& rt) {
                  const std::vector<int64_t> two(2, 2);
                  rt.world.all_to_all_v(Tensor::zeros({4, 3}), two, two, ExchangeMode::Padded, 1);
                }),
      Error);
}

}  // namespace
}  // namespace switchyard::dist
