// Tables for people: columns as wide as their widest cell, numbers to the right.
#pragma once
#include <string>
#include <vector>

namespace switchyard {

class TextTable {
 public:
  explicit TextTable(std::vector<std::string> titles) : rows_{std::move(titles)} {}
  void row(std::vector<std::string> cells);  // as many as there are titles
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;  // rows_[0] = titles
};

}  // namespace switchyard
