// Numbers and tables for people: columns as wide as their widest cell, the first to the left, the others to
// the right.
#pragma once
#include <iomanip>

#include "data/utf8.h"
#include "tensor/check.h"

namespace switchyard {

inline std::string fixed(double value, int digits) {  // "1.50"
  return concat(std::fixed, std::setprecision(digits), value);
}

class TextTable {
 public:
  explicit TextTable(std::vector<std::string> titles) : rows_{std::move(titles)} {}

  void row(std::vector<std::string> cells) {
    check(cells.size() == rows_[0].size(), "a table row has other cells than the titles");
    rows_.push_back(std::move(cells));
  }

  std::string text() const {
    std::vector<int64_t> widths(rows_[0].size());
    for (const auto& row : rows_)
      for (size_t c = 0; c < row.size(); ++c)
        widths[c] = std::max(widths[c], count_code_points(row[c]));
    std::string all;
    for (const auto& row : rows_) {
      for (size_t c = 0; c < row.size(); ++c) {
        const std::string pad(size_t(widths[c] - count_code_points(row[c])), ' ');
        all += c == 0 ? row[c] + pad : "  " + pad + row[c];
      }
      all += "\n";
    }
    return all;
  }

 private:
  std::vector<std::vector<std::string>> rows_;  // rows_[0] = titles
};

}  // namespace switchyard
