// Cleaning of English-xx pairs taken from message catalogues, in the order of specs/data_sources.md: white space, markup
// and mnemonics, drop rules, script, length ratio, overlap; the key for deduplication; and the split, which is a
// function of that key alone, so that an English sentence is in the same split in every language.
#pragma once
#include <string>

#include "data/translation_source.h"

namespace switchyard {

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
