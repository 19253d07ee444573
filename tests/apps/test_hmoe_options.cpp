// Options of HMoE whose feature is not built: refused by name, except for the neutral value.
#include <gtest/gtest.h>

#include "apps/common/flags.h"
#include "moe/methods/hmoe_config.h"

namespace switchyard {
namespace {

std::string error_of(const std::vector<std::string>& args) {
  moe::HmoeConfig config;
  OptionList list = option_list(config);
  try {
    parse_flags(list, args, "app", "About it.");
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(HmoeOptions, UnbuiltFeaturesAreRefused) {
  const std::vector<std::pair<std::string, std::string>> unbuilt = {
      {"--moe-expert-ffn-dim", "8"}, {"--alternate-ffn-embed-dim", "8"}};
  for (const auto& [option, value] : unbuilt) {
    const std::string error = error_of({option, value});
    EXPECT_NE(error.find(option + ": '" + value + "'"), std::string::npos) << option << error;
  }
}

TEST(HmoeOptions, NeutralValuesPass) {
  EXPECT_EQ(error_of({"--moe-eom", "0.0", "--moe-fom=0", "--moe-cmr", "false", "--use-moe-pad-mask",
                      "0", "--alternate-ffn-embed-dim", "0"}),
            "");
}

}  // namespace
}  // namespace switchyard
