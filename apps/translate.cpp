// Translate standard input to standard output, line by line, with an HMoE checkpoint.
#include <iostream>

#include "apps/common/hmoe_app.h"

using namespace switchyard;

namespace {

struct TranslateConfig {
  std::string path, source_lang, target_lang, device = "auto", precision = "fp32";
  int64_t batch_size = 32;
  GenerateOptions generate;

  template <class V>
  void visit(V&& v) {
    v.group("Translation");
    v(path, "path", "checkpoint: a run folder (its best one) or a step folder");
    v(source_lang, "source-lang", "language of the input");
    v(target_lang, "target-lang", "language of the output");
    v(batch_size, "batch-size", "lines translated together");
    v(device, "device", kDeviceHelp, {"auto", "cpu", "cuda"});
    v(precision, "precision,dtype", kPrecisionHelp, {"fp32", "bf16"});
    generate.visit(v);
  }
};

// A batch of lines in, their translations out, in order; an empty line stays empty.
void translate(const TranslateConfig& config, const StoredRun& run, dist::Runtime& runtime) {
  const auto model = load_model(run, runtime);
  const size_t longest = size_t(run.config.data.max_source_positions) - 2;  // language token, </s>
  std::string line;
  for (int64_t number = 1; std::cin;) {
    std::vector<std::vector<int32_t>> sentences;
    for (; int64_t(sentences.size()) < config.batch_size && std::getline(std::cin, line);
         ++number) {
      sentences.push_back(run.tokenizer->encode(line));
      if (sentences.back().size() <= longest) continue;
      std::cerr << "warning: line " << number << " has " << sentences.back().size()
                << " pieces, cut to " << longest << "\n";
      sentences.back().resize(longest);
    }
    if (sentences.empty()) break;
    std::vector<PiecePair> pairs;
    for (const auto& s : sentences)
      pairs.push_back({s, {}, config.source_lang, config.target_lang});
    const TranslationBatch batch = make_batch(*run.tokenizer, run.config.data, pairs);
    ForwardContext ctx;
    const std::vector<int64_t> first(sentences.size(),
                                     run.tokenizer->language_token(config.target_lang));
    const auto found = generate(*model, batch.source, first, config.generate, ctx);
    for (size_t i = 0; i < sentences.size(); ++i) {
      const std::vector<int64_t>& tokens = found[i].front().tokens;
      const std::vector<int32_t> pieces(tokens.begin() + 1, tokens.end() - 1);
      std::cout << (sentences[i].empty() ? "" : run.tokenizer->decode(pieces)) << "\n";
    }
    std::cout << std::flush;
  }
}

}  // namespace

int main(int argc, char** argv) {
  TranslateConfig config;
  StoredRun run;
  return dist::run_main(
      argc, argv,
      [&](std::vector<std::string> args, int) -> dist::RunPlan {
        const ParseResult parsed =
            parse_flags(option_list(config), args, "translate",
                        "Translate standard input to standard output, a sentence a line.");
        if (parsed.exit_code) return {.exit_code = parsed.exit_code, .text = parsed.text};
        user_check(config.batch_size >= 1,
                   concat("--batch-size is ", config.batch_size, ", expected at least 1"));
        run = open_stored_run(config.path, 1.0, config.precision, config.generate);  // no drops
        user_check(!config.source_lang.empty() && !config.target_lang.empty(),
                   "--source-lang and --target-lang say what to translate, e.g. --source-lang en "
                   "--target-lang fr");
        run.tokenizer->language_token(config.source_lang);  // UserErrors name the nearest
        run.tokenizer->language_token(config.target_lang);
        return {.ranks = 1, .exit_code = {}, .device = config.device};
      },
      [&](dist::Runtime& runtime) { translate(config, run, runtime); });
}
