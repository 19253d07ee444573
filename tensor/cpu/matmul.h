// Matrix products on the CPU, cut among threads. The instruction set is AVX-512 where the CPU has it, else
// AVX2; SWITCHYARD_ISA=avx2|avx512 chooses (for tests: both give the same bits).
#pragma once
#include <vector>

#include "tensor/cpu/product.h"

namespace switchyard::cpu {

// All products, in one parallel region: the output is cut among the threads, never k.
template <class T>
void multiply_all(const std::vector<Product<T>>& products);

// One product on the calling thread
template <class T>
void multiply_here(const Product<T>& product);

}  // namespace switchyard::cpu
