#include "nn/positional.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"

namespace switchyard {
namespace {

Tensor make_table(int64_t positions, int64_t width) {
  const int64_t half = width / 2;
  Tensor table = Tensor::zeros({positions, width}, DType::F64);  // odd width: a column of zeros
  double* t = table.data<double>();
  for (int64_t k = 0; k < half; ++k) {
    const double rate = std::exp(-double(k) * std::log(10000.0) / std::max(half - 1.0, 1.0));
    for (int64_t p = 0; p < positions; ++p) {
      t[p * width + k] = std::sin(double(p) * rate);
      t[p * width + half + k] = std::cos(double(p) * rate);
    }
  }
  return table;
}

}  // namespace

Tensor SinusoidalPositions::forward(const Tensor& ids, int64_t earlier) {
  std::vector<int64_t> rows = ids.to_vector<int64_t>();
  int64_t last = pad_ + earlier;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (int64_t(i) % ids.dim(1) == 0) last = pad_ + earlier;
    rows[i] = rows[i] == pad_ ? -1 : ++last;  // -1: a zero row
  }
  const int64_t longest = pad_ + earlier + ids.dim(1);
  if (!table_.defined() || longest >= table_.dim(0))
    table_ = make_table(std::max<int64_t>(256, 2 * longest), width_).to(dtype_);
  return gather_rows(Var(table_), Tensor::of(rows)).data();
}

}  // namespace switchyard
