// Raw sentence pairs of all languages -> cleaned -> splits without leakage -> token ids. What apps/prepare does between
// reading files and writing the corpus.
#pragma once
#include <functional>

#include "data/corpus.h"
#include "data/text_files.h"

namespace switchyard {

// A bitext as text.
struct RawBitext {
  std::array<std::string, 2> langs;
  std::array<std::vector<TextPair>, 4> splits = {};
  Counts counts = {};  // what was left out, and why
};

// English-xx bitexts from the message catalogues below a folder: cleaned, deduplicated and split by the English sentence
// alone. Evaluation parts take the sentences that most languages have first; what a cap cuts off is not trained on, and
// training pairs whose translation is an evaluation target are removed. langs: without English. plain_test: test
// entries of plain prose only. caps: of the evaluation splits of a language.
std::vector<RawBitext> read_gettext(const std::string& folder,
                                    const std::vector<std::string>& langs, bool plain_test,
                                    const std::function<void(const std::string&)>& progress,
                                    const std::array<int64_t, 4>& caps = {0, 400, 800, 800});

// Tokenizes everything (in parallel; the result does not depend on the number of threads).
std::vector<Bitext> encode_bitexts(const std::vector<RawBitext>& raw, const Tokenizer& tokenizer);

// clean.cpp: cleaning of English-xx pairs taken from message catalogues, in the order of specs/data_sources.md: white
// space, markup and mnemonics, drop rules, script, length ratio, overlap; the key for deduplication; and the split,
// which is a function of that key alone, so that an English sentence is in the same split in every language.

// Runs of Unicode white space -> one space; trimmed; " ::" and "::" at the end -> "" and ":"
std::string collapse_space(const std::string& text);
// reST and similar inline markup -> its visible text
std::string unwrap_markup(const std::string& text);
// "_File", "&File", "Datei (_F)" -> without the mark
void strip_mnemonics(std::string& english, std::string& other);

// Cleans both sides in place. Returns nullptr when the pair stays, else why it was dropped.
const char* clean_pair(std::string& english, std::string& other, const std::string& lang);

// Lower case, digit runs -> 0, runs of non-word characters -> one space, trimmed.
std::string normalized_key(const std::string& english);

// Of 1000 keys 40 go to valid, 80 to test, 80 to extra, the rest to train.
Split split_of(const std::string& key);

// No digit, none of % { } < > = / \ ' " | [ ], no "--", no word in capitals: text where copying scores low.
bool is_plain_prose(const std::string& english);

}  // namespace switchyard
