// apps/report: one HTML page about runs, from their log.jsonl, config.toml and test scores; several runs are
// overlaid and compared.
//   apps/report RUN_DIR [RUN_DIR ...] [--output FILE]
#include <iostream>

#include "apps/common/flags.h"
#include "apps/common/report_page.h"
#include "nn/checkpoint_files.h"

namespace switchyard {
namespace {

int run(const std::vector<std::string>& args) {
  std::vector<std::string> folders;
  std::string file;
  OptionList list;
  list.group("Report");
  list(file, "output", "the page to write; empty = report.html in the first RUN_DIR");
  list.arguments(folders, "RUN_DIR", "run folders; several are overlaid and compared");
  const ParseResult parsed =
      parse_flags(list, args, "report", "One HTML page about training runs.");
  std::cout << parsed.text;
  if (parsed.exit_code) return *parsed.exit_code;
  user_check(!folders.empty(), "give one or more run folders; see --help");
  user_check(folders.size() <= report::kMaxRuns,
             concat("a page holds at most ", report::kMaxRuns, " runs, got ", folders.size()));
  std::vector<RunHistory> runs(folders.begin(), folders.end());
  for (size_t i = 0; i < runs.size(); ++i)  // a/hmoe and b/hmoe keep their whole paths
    for (size_t j = 0; j < i; ++j)
      if (runs[j].name == runs[i].name) runs[j].name = folders[j], runs[i].name = folders[i];
  const std::string page = report::page(runs);
  if (file.empty()) file = folders[0] + "/report.html";
  write_durably(file, page);
  std::cout << file << ": " << runs.size() << " run(s), " << page.size() / 1024 << " KiB\n";
  return 0;
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) {
  return switchyard::tool_main("report", argc, argv, switchyard::run);
}
