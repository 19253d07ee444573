#include "nn/generate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/parallel.h"

namespace switchyard {
namespace {

constexpr double kDead = -std::numeric_limits<double>::infinity();

struct Partial {  // an unfinished hypothesis = one row of the stream
  std::vector<int64_t> tokens;
  double score = kDead;
  int64_t parent = 0;  // which hypothesis of the step before it continues
};

struct Search {  // of one sentence
  int64_t sentence = 0, max_len = 0, forced = -1;
  std::vector<Partial> partials;  // `beam` of them; dead ones fill up
  std::vector<Hypothesis> done;
  bool finished = false;
};

struct Candidate {
  double score;
  int64_t parent, token;
};

// The k best continuations; scores are -inf where a rule forbids the token. log_q [beam, V]
template <class T>
std::vector<Candidate> best_candidates(const Search& s, const T* log_q, int64_t vocabulary,
                                       int64_t step, const GenerateOptions& o) {
  const size_t k = 2 * size_t(o.beam);
  std::vector<Candidate> best;
  const auto offer = [&](int64_t parent, int64_t token, double score) {
    // Offers come by rising (parent, token): an equal score stays behind those before it.
    if (!(score > kDead) || (best.size() == k && !(score > best.back().score))) return;
    if (best.size() == k) best.pop_back();
    const auto at =
        std::find_if(best.begin(), best.end(), [&](auto& c) { return score > c.score; });
    best.insert(at, {score, parent, token});
  };
  for (int64_t p = 0; p < o.beam; ++p) {
    const double so_far = s.partials[p].score;
    if (so_far == kDead) continue;
    const T* row = log_q + p * vocabulary;
    if (step >= s.max_len) {
      offer(p, o.eos, so_far + row[o.eos]);
    } else if (step == 0 && s.forced >= 0) {
      offer(p, s.forced, so_far + row[s.forced]);
    } else {
      for (int64_t token = 0; token < vocabulary; ++token)
        if (token != o.pad && (token != o.eos || step >= o.min_len))
          offer(p, token, so_far + row[token]);
    }
  }
  return best;
}

template <class T>
void advance(Search& s, const T* log_q, int64_t vocabulary, int64_t step,
             const GenerateOptions& o) {
  const std::vector<Candidate> best = best_candidates(s, log_q, vocabulary, step, o);
  check(!best.empty(), concat("generation: the model's output for sentence ", s.sentence,
                              " of the batch is not finite"));
  std::vector<Partial> next;
  for (size_t i = 0; i < best.size(); ++i) {
    const Candidate& c = best[i];
    const bool ends = c.token == o.eos;
    if (ends ? i >= size_t(o.beam) || s.done.size() == size_t(o.beam)
             : next.size() == size_t(o.beam))
      continue;
    std::vector<int64_t> tokens = s.partials[c.parent].tokens;
    tokens.push_back(c.token);
    if (ends) s.done.push_back({std::move(tokens), c.score / std::pow(double(step + 1), o.lenpen)});
    else next.push_back({std::move(tokens), c.score, c.parent});
  }
  s.finished = next.empty() || s.done.size() == size_t(o.beam) || step >= s.max_len;
  next.resize(o.beam);
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
    s.partials.resize(o.beam);
    s.partials[0].score = 0;  // at the start all hypotheses are the same one
  }
  return searches;
}

// Drops the finished searches, and with them their rows of the caches and of the source's layout.
void compact(std::vector<Search>& active, DecodeState& state, RowLayout& source_layout) {
  std::vector<int64_t> rows;
  std::vector<uint8_t> old, padding;
  if (source_layout.padding.defined()) old = source_layout.padding.to_vector<uint8_t>();
  std::vector<Search> rest;
  for (size_t i = 0; i < active.size(); ++i) {
    if (active[i].finished) continue;
    for (const Partial& p : active[i].partials) rows.push_back(int64_t(i) * state.beams + p.parent);
    if (!old.empty()) {
      const auto first = old.begin() + int64_t(i) * source_layout.time;
      padding.insert(padding.end(), first, first + source_layout.time);
    }
    rest.push_back(std::move(active[i]));
  }
  state.reorder(rows);
  if (!old.empty()) source_layout.padding = Tensor::of(padding);
  source_layout.batch = int64_t(rest.size());
  active = std::move(rest);
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
    std::vector<int64_t> last;  // the newest token of each row; dead rows are padding
    for (const Search& s : active)
      for (const Partial& p : s.partials)
        last.push_back(p.score == kDead   ? options.pad
                       : p.tokens.empty() ? options.eos
                                          : p.tokens.back());
    c.micro_batch = (ctx.micro_batch << 20) + step;  // random draws differ from step to step
    const Tensor tokens = Tensor::of(last, {int64_t(last.size()), 1});
    const Tensor logits = model.decode(tokens, encoder_out, c).data();  // [rows, V]
    Tensor log_q = empty_like(logits);
    log_softmax_forward(logits, log_q);
    FLOAT_DISPATCH(log_q.dtype(), T, {
      parallel_for(int64_t(active.size()), 1, [&](int64_t from, int64_t to) {
        for (int64_t i = from; i < to; ++i)
          advance(active[i], log_q.data<T>() + i * options.beam * vocabulary, vocabulary, step,
                  options);
      });
    });
    for (Search& s : active) {
      if (!s.finished) continue;
      std::stable_sort(s.done.begin(), s.done.end(),
                       [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
      if (s.done.size() > size_t(options.nbest)) s.done.resize(options.nbest);
      result[s.sentence] = std::move(s.done);
    }
    compact(active, state, c.source_layout);
    c.losses.clear();
  }
  ctx.statistics = std::move(c.statistics);
  return result;
}

}  // namespace switchyard
