#include "data/corpus.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tensor/hdf5.h"

namespace switchyard {
namespace {

const std::string kKind = "switchyard translation corpus";
constexpr int64_t kFormat = 1;

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& n : names) text += (text.empty() ? "" : ",") + n;
  return text;
}

std::string temporary_name(const std::string& path) { return concat(path, ".tmp", ::getpid()); }

// Where the file holds the sentences of one side.
std::string group_of(const Bitext& b, Split split, size_t side) {
  return concat("/", kSplitNames[size_t(split)], "/", b.name(), "/", b.langs[side]);
}

void write_contents(Hdf5File& file, const TranslationSource& data, const Counts& skipped,
                    const std::string& options) {
  std::vector<std::string> pairs;
  std::array<int64_t, 4> totals = {};
  file.write_bytes("/tokenizer", data.tokenizer().model());
  file.write_strings("/vocabulary", data.tokenizer().vocabulary());
  for (const Bitext& b : data.bitexts()) {
    pairs.push_back(b.name());
    for_each_side(b, [&](Split split, size_t side, const Sentences& text) {
      const std::string group = group_of(b, split, side);
      file.write(group + "/tokens", Tensor::of(text.tokens));
      file.write(group + "/offsets", Tensor::of(text.offsets));
      if (!text.text.empty()) file.write_strings(group + "/text", text.text);
      if (side == 0) totals[size_t(split)] += text.size();
    });
  }
  file.set_attr("/", "kind", kKind);
  file.set_attr("/", "format", kFormat);
  file.set_attr("/", "langs", joined(data.langs()));
  file.set_attr("/", "pairs", joined(pairs));
  file.set_attr("/", "options", options);
  file.set_attr("/", "skipped", nlohmann::json(skipped).dump());
  file.set_attr("/", "checksum", data.checksum());
  for (size_t s = 0; s < totals.size(); ++s)
    file.set_attr("/", concat(kSplitNames[s], "_pairs"), totals[s]);
}

std::shared_ptr<const TranslationSource> read_contents(const std::string& path) {
  const Hdf5File file = Hdf5File::open(path);
  user_check(file.attrs("/").count("kind") && file.attr<std::string>("/", "kind") == kKind,
             "not a translation corpus; make one with apps/prepare translation");
  user_check(file.attr<int64_t>("/", "format") == kFormat,
             concat("format ", file.attr<int64_t>("/", "format"), ", expected ", kFormat,
                    ": prepare it again"));
  const std::vector<std::string> langs = split_list(file.attr<std::string>("/", "langs"));
  std::vector<Bitext> bitexts;
  for (const std::string& pair : split_list(file.attr<std::string>("/", "pairs"))) {
    const size_t dash = pair.find('-');
    Bitext b{{pair.substr(0, dash), pair.substr(dash + 1)}, {}};
    for_each_side(b, [&](Split split, size_t side, Sentences& out) {
      const std::string group = group_of(b, split, side);
      out.tokens = file.read(group + "/tokens").to_vector<int32_t>();
      out.offsets = file.read(group + "/offsets").to_vector<int64_t>();
      if (file.exists(group + "/text")) out.text = file.read_strings(group + "/text");
    });
    bitexts.push_back(std::move(b));
  }
  Tokenizer tokenizer(file.read_bytes("/tokenizer"), file.read_strings("/vocabulary"));
  auto data =
      std::make_shared<TranslationSource>(path, langs, std::move(tokenizer), std::move(bitexts));
  user_check(data->checksum() == file.attr<std::string>("/", "checksum"),
             "its checksum does not match its contents: the file is damaged, prepare it again");
  return data;
}

}  // namespace

void check_output(const std::string& path) {
  user_check(!path.empty() && !std::filesystem::is_directory(path),
             concat("--output ", path, ": expected a file name"));
  user_check(std::ofstream(temporary_name(path)).is_open(),
             concat("--output ", path, ": cannot write there: ", std::strerror(errno)));
  std::filesystem::remove(temporary_name(path));
}

void write_corpus(const std::string& path, const TranslationSource& data, const Counts& skipped,
                  const std::string& options) {
  const std::string temporary = temporary_name(path);
  try {
    Hdf5File file = Hdf5File::create(temporary);
    write_contents(file, data, skipped, options);
    file.close();
    const int fd = ::open(temporary.c_str(), O_RDONLY);
    check(::fsync(fd) == 0, "fsync failed");
    ::close(fd);
    std::filesystem::rename(temporary, path);
  } catch (const std::exception& e) {
    ::unlink(temporary.c_str());
    throw UserError(concat("--output ", path, ": not written: ", e.what()));
  }
}

std::shared_ptr<const TranslationSource> read_corpus(const std::string& path) {
  std::error_code ec;
  user_check(std::filesystem::is_regular_file(path, ec),
             concat("--data ", path,
                    ": no such file; make one with apps/prepare translation --output ", path));
  try {
    return read_contents(path);
  } catch (const std::exception& e) {
    throw UserError(concat("--data ", path, ": not a readable corpus: ", e.what()));
  }
}

}  // namespace switchyard
