// twins/elementwise.h on the GPU.
#include "tensor/adam.h"
#include "tensor/cuda/loops.h"

namespace switchyard::cuda {
#include "tensor/twins/elementwise.h"
}
