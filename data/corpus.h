// The corpus file of a translation data set: one HDF5 file.
//   /tokenizer  u8, SentencePiece model            /vocabulary  strings, id -> piece
//   /<split>/<a>-<b>/<lang>/tokens  i32, flat      .../offsets  i64 [n + 1]      .../text  strings, evaluation only
//   attributes of /: kind, format, langs, pairs, options, skipped (JSON), checksum, train_pairs, ...
// Made by apps/prepare; a function of text and options alone.
#pragma once
#include "data/translation_source.h"

namespace switchyard {

// UserError when a corpus cannot be written there: before the work, not after it.
void check_output(const std::string& path);

// options: how it was made, as text. Writes a temporary file, then renames it.
void write_corpus(const std::string& path, const TranslationSource& data, const Counts& skipped,
                  const std::string& options);

// Reads and checks everything: foreign and damaged files are UserErrors that name the file.
std::shared_ptr<const TranslationSource> read_corpus(const std::string& path);

}  // namespace switchyard
