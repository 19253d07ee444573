// The dense feed-forward map W2 drop(act(W1 x + b1)) + b2. An MoE block takes its place in some layers.
#pragma once
#include "nn/stack.h"

namespace switchyard {

using Activation = Var (*)(const Var&);
inline Activation activation_by_name(const std::string& name) {
  user_check(name == "relu" || name == "gelu",
             "--activation-fn " + name + ": expected relu or gelu");
  return name == "relu" ? &relu : &gelu;
}

struct FeedForwardOptions {
  int64_t width = 0, hidden = 0;
  Activation activation = &relu;
  double activation_dropout = 0;
  DType dtype = DType::F32;
};

class FeedForward : public Module {
 public:
  explicit FeedForward(const FeedForwardOptions& o)
      : options_(o), fc1_(o.width, o.hidden, o.dtype), fc2_(o.hidden, o.width, o.dtype) {}

  Var forward(const Var& x, const Var& /*encoder_out*/, ForwardContext& ctx) const {
    const Var hidden = options_.activation(fc1_.forward(x));  // [n, F]
    return fc2_.forward(drop(hidden, options_.activation_dropout, "activation_dropout", ctx));
  }
  void visit(ParamVisitor& v) override {
    v("fc1", fc1_);
    v("fc2", fc2_);
  }

 private:
  FeedForwardOptions options_;
  Linear fc1_, fc2_;
};

}  // namespace switchyard
