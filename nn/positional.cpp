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

Tensor SinusoidalPositions::look_up(const std::vector<int64_t>& positions) {
  const int64_t longest = positions.empty() ? 0 : std::ranges::max(positions);
  if (!table_.defined() || longest >= table_.dim(0)) {
    const int64_t rows = std::max<int64_t>(256, 2 * longest);
    table_ = make_table(rows, width_).to(dtype_);
  }
  return gather_rows(Var(table_), Tensor::of(positions)).data();
}

Tensor SinusoidalPositions::forward(const Tensor& ids) {
  const int64_t batch = ids.dim(0), time = ids.dim(1);
  std::vector<int64_t> positions(batch * time, -1);
  const int64_t* id = ids.data<int64_t>();
  for (int64_t b = 0; b < batch; ++b) {
    int64_t next = pad_ + 1;
    for (int64_t i = b * time; i < (b + 1) * time; ++i)
      if (id[i] != pad_) positions[i] = next++;
  }
  return look_up(positions);
}

Tensor SinusoidalPositions::at(int64_t rows, int64_t index) {
  return look_up(std::vector<int64_t>(rows, pad_ + 1 + index));
}

}  // namespace switchyard
