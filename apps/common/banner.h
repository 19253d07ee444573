// What a run says about itself before its first update: layout, parameters, memory, data, seed.
#pragma once
#include "apps/common/hmoe_app.h"
#include "dist/runtime.h"

namespace switchyard {

// Rank 0 prints to standard output; collective. UserError when the ranks of a node need more memory for
// parameters, gradients and optimizer than the machine has.
void print_banner(const HmoeAppConfig& config, const TranslationSource& source, Transformer& model,
                  const dist::Mesh& mesh, const dist::Runtime& runtime,
                  const std::vector<std::string>& notes);

}  // namespace switchyard
