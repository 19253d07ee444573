// A tiny transformer and batches for the tests of nn.
#pragma once
#include <gtest/gtest.h>

#include <cmath>

#include "nn/loss.h"
#include "nn/transformer.h"

namespace switchyard::testing_nn {

inline ModelConfig small_config() {
  ModelConfig c;
  c.encoder_layers = 1, c.decoder_layers = 2;
  c.encoder_embed_dim = c.decoder_embed_dim = 8;
  c.encoder_ffn_embed_dim = 12, c.decoder_ffn_embed_dim = 10;
  c.encoder_attention_heads = 2, c.decoder_attention_heads = 4;
  c.dropout = 0;
  return c;
}

inline std::unique_ptr<Transformer> make_small(const ModelConfig& c, DType dtype,
                                               int64_t vocabulary = 11, uint64_t seed = 3) {
  auto model = std::make_unique<Transformer>(
      c, vocabulary, [c, dtype](bool decoder, int) { return make_dense_ffn(c, decoder, dtype); },
      dtype);
  initialize(*model, seed);
  return model;
}

using Ids = std::vector<std::vector<int64_t>>;
inline Tensor ids_of(const Ids& rows) {
  std::vector<int64_t> flat;
  for (const auto& r : rows) flat.insert(flat.end(), r.begin(), r.end());
  const int64_t time = rows.empty() ? 0 : int64_t(rows[0].size());
  return Tensor::of(flat, {int64_t(rows.size()), time});
}

// Two sentences, the second shorter: source left-padded, target right-padded (pad = 1, </s> = 2)
inline Ids source_ids() { return {{9, 4, 5, 6, 2}, {1, 1, 10, 7, 2}}; }
inline Ids decoder_ids() { return {{2, 9, 5, 8}, {2, 10, 6, 1}}; }
inline Ids target_ids() { return {{9, 5, 8, 2}, {10, 6, 2, 1}}; }

inline Tensor logits_of(Transformer& m, const Ids& source, const Ids& input, ForwardContext& ctx) {
  const Var encoded = m.encode(ids_of(source), ctx);
  return m.decode(ids_of(input), encoded, ctx).data();
}

inline LossParts loss_of(Transformer& m, ForwardContext& ctx, double smoothing = 0.1) {
  const Var encoded = m.encode(ids_of(source_ids()), ctx);
  const Var logits = m.decode(ids_of(decoder_ids()), encoded, ctx);
  return criterion(logits, ids_of(target_ids()), 1, smoothing, ctx.losses, true);
}

inline std::vector<double> values(const Tensor& t) { return t.to(DType::F64).to_vector<double>(); }

}  // namespace switchyard::testing_nn
