// Beam search, batched, with fairseq's rules; beam 1 is greedy search. Of each sentence the `beam` best
// unfinished hypotheses live on; one that draws </s> among the `beam` best candidates is finished with
//   score = sum of log q / length^lenpen,   length counts </s> and the language token,
// and a sentence ends with `beam` finished hypotheses or at its longest length. Ties: the lower index of
// (hypothesis, token) wins, so the result is the same everywhere.
#pragma once
#include "nn/transformer.h"

namespace switchyard {

struct GenerateOptions {
  int beam = 5, nbest = 1, min_len = 1, max_len_b = 200;
  double lenpen = 1, max_len_a = 0;

  template <class V>
  void visit(V&& v) {
    v.group("Generation");
    v(beam, "beam", "hypotheses kept for each sentence; 1 = greedy");
    v(nbest, "nbest", "finished hypotheses to return for each sentence");
    v(lenpen, "lenpen", "score = log-probability / length^lenpen");
    v(max_len_a, "max-len-a", "longest output = a * source length + b tokens");
    v(max_len_b, "max-len-b", "longest output = a * source length + b tokens");
    v(min_len, "min-len", "fewest tokens before </s>");
  }
  void validate() const;  // UserError

  int64_t pad = 1, eos = 2;
  // of the target: outputs have at most max_positions - 1 tokens and </s>
  int64_t max_positions = 1024;
};

struct Hypothesis {
  std::vector<int64_t> tokens;  // with the language token and </s>
  double score = 0;
};

// "Does any rank still search?", given whether this one does: an all-reduce, as decoding may hold
// collectives that every rank must join (with zero rows when its own sentences are done).
using AnyRankActive = std::function<bool(bool)>;

// source i64 [B, Ts], B = 0 allowed. first[b]: forced first token of sentence b, -1 = free; empty = all free.
// Returns for each sentence its nbest hypotheses, best first. Statistics of the passes go to ctx.
std::vector<std::vector<Hypothesis>> generate(
    Transformer& model, const Tensor& source, const std::vector<int64_t>& first,
    const GenerateOptions& options, ForwardContext& ctx,
    const AnyRankActive& any_rank_active = [](bool active) { return active; });

}  // namespace switchyard
