// Beam search against enumeration, greedy search against arg max, batches, forced tokens, idle ranks.
#include "nn/generate.h"

#include <algorithm>

#include "autograd/ops.h"
#include "tests/nn/small_model.h"

namespace switchyard {
namespace {
using namespace testing_nn;

// log q of each token of `output` after </s>, by a full pass.
std::vector<std::vector<double>> log_q(Transformer& m, const std::vector<int64_t>& source,
                                       std::vector<int64_t> input) {
  NoGrad no_grad;
  ForwardContext ctx;
  const Tensor logits = logits_of(m, {source}, {input}, ctx);
  Tensor q = empty_like(logits);
  log_softmax_forward(logits, q);
  std::vector<std::vector<double>> rows;
  for (int64_t t = 0; t < q.dim(0); ++t) rows.push_back(values(q.slice(t, t + 1)));
  return rows;
}

double score_of(Transformer& m, const std::vector<int64_t>& source,
                const std::vector<int64_t>& output, double lenpen) {
  std::vector<int64_t> input{2};
  input.insert(input.end(), output.begin(), output.end() - 1);
  const auto rows = log_q(m, source, input);
  double score = 0;
  for (size_t t = 0; t < output.size(); ++t) score += rows[t][output[t]];
  return score / std::pow(double(output.size()), lenpen);
}

std::unique_ptr<Transformer> tiny_vocabulary() {
  auto model = make_small(small_config(), DType::F64, 6, 12);
  // Larger embeddings: outputs that differ clearly
  for (auto& p : parameters(*model))
    if (p.path == "embed/weight") {
      Tensor t = p.param->var.data();
      scale(4.0, t, t);
    }
  return model;
}
const Ids kSources{{4, 3, 5, 2}, {1, 5, 4, 2}, {5, 5, 3, 2}};

TEST(BeamSearch, AWideBeamFindsAllInOrder) {
  auto model = tiny_vocabulary();
  GenerateOptions o;
  o.beam = o.nbest = 100, o.max_len_b = 3, o.lenpen = 0.7;
  ForwardContext ctx;
  const auto found = generate(*model, ids_of({kSources[0]}), {}, o, ctx).at(0);

  std::vector<Hypothesis> all;
  std::vector<std::vector<int64_t>> open{{}};
  for (int length = 1; length <= 3; ++length) {
    std::vector<std::vector<int64_t>> longer;
    for (const auto& prefix : open)
      for (int64_t token : {0, 3, 4, 5}) {
        auto tokens = prefix;
        tokens.push_back(token);
        longer.push_back(tokens);
        tokens.push_back(2);
        all.push_back({tokens, score_of(*model, kSources[0], tokens, 0.7)});
      }
    open = longer;
  }
  std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.score > b.score; });
  ASSERT_EQ(found.size(), all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_NEAR(found[i].score, all[i].score, 1e-10) << i;
    EXPECT_EQ(found[i].tokens, all[i].tokens) << i;
  }
}

TEST(BeamSearch, BeamOneIsGreedy) {
  auto model = tiny_vocabulary();
  for (const auto& source : kSources) {
    GenerateOptions o;
    o.beam = 1, o.max_len_b = 7;
    ForwardContext ctx;
    const auto found = generate(*model, ids_of({source}), {}, o, ctx).at(0).at(0);
    std::vector<int64_t> input{2};
    for (int step = 0; step <= 7; ++step) {
      auto row = log_q(*model, source, input).back();
      row[1] = -1e30;
      if (step < 1) row[2] = -1e30;
      const int64_t best = step == 7 ? 2 : std::max_element(row.begin(), row.end()) - row.begin();
      input.push_back(best);
      if (best == 2) break;
    }
    EXPECT_EQ(found.tokens, std::vector<int64_t>(input.begin() + 1, input.end()));
    EXPECT_NEAR(found.score, score_of(*model, source, found.tokens, 1), 1e-10);
  }
}

TEST(BeamSearch, ABatchGivesWhatItsSentencesGiveAlone) {
  auto model = tiny_vocabulary();
  GenerateOptions o;
  o.beam = 3, o.nbest = 2, o.max_len_b = 9;
  const std::vector<int64_t> first{3, 4, 5};
  ForwardContext ctx;
  const auto batch = generate(*model, ids_of(kSources), first, o, ctx);
  ASSERT_EQ(batch.size(), 3u);
  for (size_t b = 0; b < 3; ++b) {
    const auto alone = generate(*model, ids_of({kSources[b]}), {first[b]}, o, ctx).at(0);
    ASSERT_EQ(batch[b].size(), alone.size());
    for (size_t i = 0; i < alone.size(); ++i) {
      EXPECT_EQ(batch[b][i].tokens, alone[i].tokens);
      EXPECT_EQ(batch[b][i].score, alone[i].score);
      EXPECT_EQ(alone[i].tokens.front(), first[b]);
      EXPECT_EQ(alone[i].tokens.back(), 2);
      EXPECT_NEAR(alone[i].score, score_of(*model, kSources[b], alone[i].tokens, 1), 1e-10);
    }
  }
}

TEST(BeamSearch, LengthLimits) {
  auto model = tiny_vocabulary();
  GenerateOptions o;
  o.beam = 2, o.max_len_b = 4, o.min_len = 4;
  ForwardContext ctx;
  for (auto& sentence : generate(*model, ids_of(kSources), {}, o, ctx))
    EXPECT_EQ(sentence.at(0).tokens.size(), 5u);
  o.min_len = 1, o.max_positions = 3;
  for (auto& sentence : generate(*model, ids_of(kSources), {}, o, ctx))
    EXPECT_LE(sentence.at(0).tokens.size(), 3u);
  o.max_positions = 1024, o.max_len_a = 1, o.max_len_b = 1;  // source lengths 4, 3, 4
  o.min_len = 1;
  const auto found = generate(*model, ids_of(kSources), {}, o, ctx);
  EXPECT_LE(found[1].at(0).tokens.size(), 5u);
}

TEST(BeamSearch, JoinsTheDecodingOfOtherRanks) {
  auto model = tiny_vocabulary();
  GenerateOptions o;
  o.beam = 2, o.max_len_b = 5;
  ForwardContext ctx;
  const auto alone = generate(*model, ids_of(kSources), {}, o, ctx);
  int calls = 0;
  const auto twenty = [&](bool) { return ++calls <= 20; };  // another rank needs 20 steps
  const auto joined = generate(*model, ids_of(kSources), {}, o, ctx, twenty);
  EXPECT_EQ(calls, 21);
  for (size_t b = 0; b < 3; ++b) EXPECT_EQ(joined[b][0].tokens, alone[b][0].tokens);
  calls = 0;
  EXPECT_TRUE(generate(*model, Tensor::empty({0, 0}, DType::I64), {}, o, ctx, twenty).empty());
  EXPECT_EQ(calls, 21);
}

TEST(BeamSearch, RefusesImpossibleOptions) {
  const auto refused = [](auto change) {
    GenerateOptions o;
    change(o);
    EXPECT_THROW(o.validate(), UserError);
  };
  refused([](GenerateOptions& o) { o.beam = 0; });
  refused([](GenerateOptions& o) { o.nbest = 6; });
  refused([](GenerateOptions& o) { o.max_len_b = 0; });
  refused([](GenerateOptions& o) { o.min_len = 500; });
}

}  // namespace
}  // namespace switchyard
