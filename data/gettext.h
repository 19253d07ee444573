// Message catalogues as parallel text: English message and its translation. Compiled .mo files (GNU gettext manual,
// "The Format of GNU MO Files"; either byte order) and .po sources. Files are treated as hostile: every offset and
// length is checked, and work is bounded by the file's size.
// Left out and counted: header, plural forms, fuzzy and obsolete entries, empty translations, undecodable text.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "data/utf8.h"

namespace switchyard {

struct Message {
  std::string source, target;  // UTF-8
};

// Throw UserError with the reason (without a file name) when the catalogue as a whole is unusable.
std::vector<Message> read_mo(std::string_view bytes, Counts& skipped);
std::vector<Message> read_po(std::string_view text, Counts& skipped);

// All catalogues of a language below `folder`: folder/<lang>/**.mo|.po and folder/<lang>.po in path order, without the
// iso_* name lists; the first occurrence of a message wins. Unusable files are counted.
struct CatalogueSet {
  std::vector<Message> messages;
  Counts skipped;
  int64_t files = 0;
};
CatalogueSet read_catalogues(const std::string& folder, const std::string& lang);

// Languages that have catalogues in the folder, sorted. UserError when there is no such folder, or none in it.
std::vector<std::string> catalogue_languages(const std::string& folder);

}  // namespace switchyard
