// Plain-text files, also compressed (.gz, .zst, .xz, .bz2): whole, or as aligned pairs of lines.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "data/utf8.h"

namespace switchyard {

using TextPair = std::pair<std::string, std::string>;

std::string read_file(const std::string& path);  // decompressed; UserError names the file

// Line i of one file and line i of the other. Unequal line counts and empty files are UserErrors; pairs with an
// empty, over-long or invalid line on either side are left out and counted.
std::vector<TextPair> read_aligned(const std::string& first, const std::string& second,
                                   Counts& skipped);

}  // namespace switchyard
