// Matrix products on the GPU: what the kernels give to cuBLASLt, as plain row-major matrices.
// Read before: context.h. Read next: products.cu.
#pragma once
#include <vector>

#include "tensor/cuda/context.h"

namespace switchyard::cuda {

// A row-major matrix, or a batch of them `step` elements apart; transposed() is a view.
struct Matrix {
  void* data;
  DType type;
  int64_t rows, columns, pitch;  // as they lie in memory
  int64_t step = 0;
  bool transpose = false;

  Matrix transposed() const {
    Matrix m = *this;
    m.transpose = !transpose;
    return m;
  }
};

// c [m, n] = alpha a [m, k] b [k, n] + bias [n]; c is not transposed. f32, f64, or bf16 with sums in f32
// and c in bf16 or f32; bias is of c's type.
struct Product {
  Matrix a, b, c;
  const void* bias = nullptr;
  double alpha = 1;
  int64_t batch = 1;  // without a bias when there are more
};

// Independent products, side by side on a few streams. The same call gives the same bits.
void multiply_all(const std::vector<Product>& products);

}  // namespace switchyard::cuda
