#include "data/corpus.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <nlohmann/json.hpp>

#include "tensor/hdf5.h"

namespace switchyard {

TranslationSource::TranslationSource(std::string origin, std::vector<std::string> langs,
                                     Tokenizer tokenizer, std::vector<Bitext> bitexts)
    : origin_(std::move(origin)),
      langs_(std::move(langs)),
      tokenizer_(std::move(tokenizer)),
      bitexts_(std::move(bitexts)) {
  user_check(!bitexts_.empty(), concat(origin_, ": no language pair in it"));
  for (const std::string& lang : langs_) tokenizer_.language_token(lang);
  for (const Bitext& b : bitexts_) {
    user_check(contains(langs_, b.langs[0]) && contains(langs_, b.langs[1]),
               concat(origin_, ": pair ", b.name(), " has a language that is not in its list"));
    for_each_side(b, [&](Split split, size_t, const Sentences& side) {
      const std::string where = concat(origin_, ": ", kSplitNames[size_t(split)], "/", b.name());
      const int64_t n = b.splits[size_t(split)][0].size();
      const auto& o = side.offsets;
      user_check(side.size() == n && (side.text.empty() || std::ssize(side.text) == n),
                 where + ": both sides and their texts are not equally many sentences");
      user_check(!o.empty() && o.front() == 0 && std::ranges::is_sorted(o) &&
                     o.back() == std::ssize(side.tokens),
                 where + ": offsets do not rise from 0 to the number of tokens");
      const auto known = [&](int32_t id) { return id >= kUnk && id < vocabulary_size(); };
      user_check(std::ranges::all_of(side.tokens, known),
                 concat(where, ": a token id is not from ", kUnk, " to ", vocabulary_size() - 1));
    });
    const int32_t index = int32_t(&b - bitexts_.data());
    directions_.push_back({b.langs[0], b.langs[1], index, 0});
    directions_.push_back({b.langs[1], b.langs[0], index, 1});
  }
}

std::string TranslationSource::checksum() const {
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                 XXH3_freeState);
  XXH3_128bits_reset(state.get());
  const auto add = [&](const void* bytes, size_t n) {
    const uint64_t length = n;  // lengths too: "ab" + "c" is not "a" + "bc"
    XXH3_128bits_update(state.get(), &length, sizeof length);
    XXH3_128bits_update(state.get(), bytes, n);
  };
  const auto add_all = [&](const std::vector<std::string>& list) {
    const uint64_t n = list.size();
    add(&n, sizeof n);
    for (const std::string& s : list) add(s.data(), s.size());
  };
  add_all(langs_);
  add_all(tokenizer_.vocabulary());
  add(tokenizer_.model().data(), tokenizer_.model().size());
  for (const Bitext& b : bitexts_) {
    add_all({b.langs[0], b.langs[1]});
    for_each_side(b, [&](Split, size_t, const Sentences& side) {
      add(side.tokens.data(), side.tokens.size() * sizeof(int32_t));
      add(side.offsets.data(), side.offsets.size() * sizeof(int64_t));
      add_all(side.text);
    });
  }
  const XXH128_hash_t h = XXH3_128bits_digest(state.get());
  return concat(std::hex, std::setfill('0'), std::setw(16), h.high64, std::setw(16), h.low64);
}

namespace {

const std::string kKind = "switchyard translation corpus";
constexpr int64_t kFormat = 1;

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
  file.set_attr("/", "langs", join(data.langs(), ","));
  file.set_attr("/", "pairs", join(pairs, ","));
  file.set_attr("/", "options", options);
  file.set_attr("/", "skipped", nlohmann::json(skipped).dump());
  file.set_attr("/", "checksum", data.checksum());
  for (size_t s = 0; s < totals.size(); ++s)
    file.set_attr("/", concat(kSplitNames[s], "_pairs"), totals[s]);
}

std::shared_ptr<const TranslationSource> read_contents(const std::string& path) {
  const Hdf5File file = Hdf5File::open(path);
  Attributes attributes = file.attrs("/");
  user_check(attributes["kind"] == Attributes::mapped_type(kKind),
             "not a translation corpus; make one with apps/prepare translation");
  user_check(attributes["format"] == Attributes::mapped_type(kFormat),
             concat("its format is not ", kFormat, ": prepare it again"));
  const std::vector<std::string> langs = split_list(file.attr<std::string>("/", "langs"));
  std::vector<Bitext> bitexts;
  for (const std::string& pair : split_list(file.attr<std::string>("/", "pairs"))) {
    const size_t dash = pair.find('-');
    Bitext& b = bitexts.emplace_back(Bitext{{pair.substr(0, dash), pair.substr(dash + 1)}, {}});
    for_each_side(b, [&](Split split, size_t side, Sentences& out) {
      const std::string group = group_of(b, split, side);
      out.tokens = file.read(group + "/tokens").to_vector<int32_t>();
      out.offsets = file.read(group + "/offsets").to_vector<int64_t>();
      if (file.exists(group + "/text")) out.text = file.read_strings(group + "/text");
    });
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
