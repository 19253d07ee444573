#include "apps/common/text_table.h"

#include "data/utf8.h"
#include "tensor/check.h"

namespace switchyard {
namespace {

bool looks_like_number(const std::string& cell) {
  return cell.empty() || (cell[0] >= '0' && cell[0] <= '9') ||
         (cell.size() > 1 && (cell[0] == '-' || cell[0] == '+' || cell[0] == '.')) || cell == "-";
}

}  // namespace

void TextTable::row(std::vector<std::string> cells) {
  check(cells.size() == rows_[0].size(), "a table row has another number of cells than the titles");
  rows_.push_back(std::move(cells));
}

std::string TextTable::text() const {
  const size_t columns = rows_[0].size();
  std::vector<int64_t> widths(columns, 0);
  std::vector<bool> right(columns, rows_.size() > 1);
  for (size_t r = 0; r < rows_.size(); ++r)
    for (size_t c = 0; c < columns; ++c) {
      widths[c] = std::max(widths[c], count_code_points(rows_[r][c]));
      if (r > 0) right[c] = right[c] && looks_like_number(rows_[r][c]);
    }
  std::string out;
  for (const std::vector<std::string>& cells : rows_) {
    std::string line;
    for (size_t c = 0; c < columns; ++c) {
      const std::string pad(static_cast<size_t>(widths[c] - count_code_points(cells[c])), ' ');
      line += (c == 0 ? "" : "  ") + (right[c] ? pad + cells[c] : cells[c] + pad);
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

}  // namespace switchyard
