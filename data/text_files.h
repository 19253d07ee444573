// Plain-text files, also compressed (.gz, .zst, .xz, .bz2): whole, as lines, or as aligned pairs of lines.
// Lines end at \n only (never at U+0085 or U+2028, which occur inside sentences).
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "data/utf8.h"

namespace switchyard {

using TextPair = std::pair<std::string, std::string>;

inline constexpr int64_t kMaxLineWords = 2000, kMaxLineBytes = 20000;

std::string read_file(const std::string& path);  // decompressed; UserError names the file
std::vector<std::string> split_lines(const std::string& text);

// Line i of one file and line i of the other. Unequal line counts and empty files are UserErrors; pairs with an
// empty, over-long or invalid line on either side are left out and counted.
std::vector<TextPair> read_aligned(const std::string& first, const std::string& second,
                                   Counts& skipped);

}  // namespace switchyard
