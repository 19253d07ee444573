// Files of parallel text: aligned lines (text_files.cpp) and message catalogues (gettext.cpp).
#pragma once
#include "data/utf8.h"

namespace switchyard {

using TextPair = std::pair<std::string, std::string>;

// Whole, decompressed (.gz, .zst, .xz, .bz2); UserError names the file.
std::string read_file(const std::string& path);

// Line i of one file and line i of the other. Unequal line counts and empty files are UserErrors; pairs with an
// empty, over-long or invalid line on either side are left out and counted.
std::vector<TextPair> read_aligned(const std::string& first, const std::string& second,
                                   Counts& skipped);

// Message catalogues as parallel text: English message and its translation. Compiled .mo files (GNU gettext manual,
// "The Format of GNU MO Files"; either byte order) and .po sources. Files are treated as hostile: every offset and
// length is checked, and work is bounded by the file's size.
// Left out and counted: header, plural forms, fuzzy and obsolete entries, empty translations, undecodable text.
// Throw UserError with the reason (without a file name) when the catalogue as a whole is unusable.
std::vector<TextPair> read_mo(std::string_view bytes, Counts& skipped);
std::vector<TextPair> read_po(std::string_view text, Counts& skipped);

// Language -> its catalogues in path order: folder/<lang>/**.mo|.po and folder/<lang>.mo|.po, without the iso_* name
// lists. UserError when there is no such folder, or none in it.
std::map<std::string, std::vector<std::string>> find_catalogues(const std::string& folder);

// The messages of these files; the first occurrence of a message wins. Unusable files are counted.
std::vector<TextPair> read_catalogues(const std::vector<std::string>& files, Counts& skipped);

}  // namespace switchyard
