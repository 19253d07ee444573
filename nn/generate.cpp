#include "nn/generate.h"

#include <algorithm>
#include <limits>

#include "tensor/parallel.h"

namespace switchyard {
namespace {

constexpr double kDead = -std::numeric_limits<double>::infinity();

struct Partial {  // an unfinished hypothesis = one row of the stream
  std::vector<int64_t> tokens;
  double score = kDead;
  int64_t row = 0;  // which row of the stream it continues
};

struct Search {  // of one sentence
  int64_t sentence = 0, max_len = 0, forced = -1;
  // `beam` of them, dead ones (padding) last; none: the search is over
  std::vector<Partial> partials;
  std::vector<Hypothesis> done;
};

// One more token. log_q [beam, V]: of the rows from first_row on
void advance(Search& s, const double* log_q, int64_t vocabulary, int64_t first_row,
             const GenerateOptions& o) {
  const size_t beam = size_t(o.beam);
  const int64_t step = int64_t(s.partials[0].tokens.size()) - 1;
  struct Candidate {
    double score;
    int64_t parent, token;
  };
  std::vector<Candidate> best;  // the 2 beam best continuations
  const auto offer = [&](int64_t parent, int64_t token) {
    const double score = s.partials[parent].score + log_q[parent * vocabulary + token];
    // Offers come by rising (parent, token): an equal score stays behind those before it.
    if (!(score > kDead) || (best.size() == 2 * beam && !(score > best.back().score))) return;
    if (best.size() == 2 * beam) best.pop_back();
    const auto at = std::ranges::find_if(best, [&](auto& c) { return score > c.score; });
    best.insert(at, {score, parent, token});
  };
  for (int64_t p = 0; p < o.beam; ++p) {
    if (s.partials[p].score == kDead) continue;
    if (step >= s.max_len) offer(p, o.eos);
    else if (step == 0 && s.forced >= 0) offer(p, s.forced);
    else
      for (int64_t token = 0; token < vocabulary; ++token)
        if (token != o.pad && (token != o.eos || step >= o.min_len)) offer(p, token);
  }
  check(!best.empty(), concat("generation: the model's output for sentence ", s.sentence,
                              " of the batch is not finite"));

  std::vector<Partial> next;
  for (size_t i = 0; i < best.size(); ++i) {
    const auto& [score, parent, token] = best[i];
    std::vector<int64_t> tokens = s.partials[parent].tokens;
    tokens.push_back(token);
    if (token != o.eos) {
      if (next.size() < beam) next.push_back({std::move(tokens), score, first_row + parent});
    } else if (i < beam && s.done.size() < beam) {
      tokens.erase(tokens.begin());  // what decoding starts with
      s.done.push_back({std::move(tokens), score / std::pow(double(step + 1), o.lenpen)});
    }
  }
  if (s.done.size() == beam || step >= s.max_len) next.clear();
  if (!next.empty()) next.resize(beam, {{o.pad}});
  s.partials = std::move(next);
}

std::vector<Search> begin(const Tensor& source, const std::vector<int64_t>& first,
                          int64_t vocabulary, const GenerateOptions& o) {
  std::vector<Search> searches(source.dim(0));
  for (int64_t b = 0; b < source.dim(0); ++b) {
    Search& s = searches[b];
    const int64_t* id = source.data<int64_t>() + b * source.dim(1);
    const int64_t length = source.dim(1) - std::count(id, id + source.dim(1), o.pad);
    s.sentence = b;
    s.max_len = std::min(int64_t(o.max_len_a * double(length)) + o.max_len_b, o.max_positions - 1);
    s.forced = first.empty() ? -1 : first.at(b);
    check(s.forced < vocabulary, concat("forced token ", s.forced, " is not below ", vocabulary));
    s.partials.resize(o.beam, {{o.pad}});
    s.partials[0] = {{o.eos}, 0};  // at the start all hypotheses are the same one
  }
  return searches;
}

}  // namespace

void GenerateOptions::validate() const {
  user_check(beam >= 1, concat("--beam is ", beam, ": expected at least 1"));
  user_check(nbest >= 1 && nbest <= beam,
             concat("--nbest is ", nbest, ": expected 1 to --beam (", beam, ")"));
  user_check(min_len >= 0, concat("--min-len is ", min_len, ": expected at least 0"));
  user_check(std::isfinite(lenpen), concat("--lenpen is ", lenpen, ": expected a number"));
  user_check(max_len_a >= 0 && std::isfinite(max_len_a) && max_len_b >= 1 && max_len_b >= min_len,
             concat("--max-len-a ", max_len_a, " --max-len-b ", max_len_b,
                    ": expected a >= 0, b >= 1 and b >= --min-len (", min_len, ")"));
}

std::vector<std::vector<Hypothesis>> generate(Transformer& model, const Tensor& source,
                                              const std::vector<int64_t>& first,
                                              const GenerateOptions& options, ForwardContext& ctx,
                                              const AnyRankActive& any_rank_active) {
  options.validate();
  NoGrad no_grad;
  ForwardContext c = ctx;
  const Var encoder_out = model.encode(source, c);
  DecodeState state;
  state.beams = options.beam;
  c.decode = &state;

  const int64_t vocabulary = model.vocabulary();
  std::vector<std::vector<Hypothesis>> result(source.dim(0));
  std::vector<Search> active = begin(source, first, vocabulary, options);
  for (int64_t step = 0; any_rank_active(!active.empty()); ++step) {
    std::vector<int64_t> last;  // the newest token of each row
    for (const Search& s : active)
      for (const Partial& p : s.partials) last.push_back(p.tokens.back());
    c.micro_batch = (ctx.micro_batch << 20) + step;  // random draws differ from step to step
    const Tensor tokens = Tensor::of(last, {int64_t(last.size()), 1});
    const Tensor logits = model.decode(tokens, encoder_out, c).data();  // [rows, V]
    const Tensor x = logits.to(compute_type(logits.dtype()));
    Tensor log_q = empty_like(x);
    log_softmax_forward(x, log_q);
    log_q = log_q.to(Device::CPU).to(DType::F64);
    parallel_for(int64_t(active.size()), 1, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        const int64_t row = i * options.beam;
        advance(active[i], log_q.data<double>() + row * vocabulary, vocabulary, row, options);
      }
    });
    std::erase_if(active, [&](Search& s) {
      if (!s.partials.empty()) return false;
      std::ranges::stable_sort(s.done, std::greater(), &Hypothesis::score);
      s.done.resize(std::min(s.done.size(), size_t(options.nbest)));
      result[s.sentence] = std::move(s.done);
      return true;
    });
    // The caches and the source's layout follow the hypotheses that live on.
    std::vector<int64_t> rows, ids;
    for (const Search& s : active) {
      for (const Partial& p : s.partials) rows.push_back(p.row);
      const int64_t* id = source.data<int64_t>() + s.sentence * source.dim(1);
      ids.insert(ids.end(), id, id + source.dim(1));
    }
    state.reorder(rows);
    c.source_layout =
        layout_of(Tensor::of(ids, {int64_t(active.size()), source.dim(1)}), options.pad);
    c.losses.clear();
  }
  ctx.statistics = std::move(c.statistics);
  ctx.measured = std::move(c.measured);
  return result;
}

}  // namespace switchyard
