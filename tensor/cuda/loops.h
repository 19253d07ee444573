// What the CUDA kernels share: loops over elements and rows with the functors of the CPU twins.
#pragma once
#include "tensor/cuda/context.h"
