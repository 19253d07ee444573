// twins/elementwise.h on the CPU.
#include "tensor/adam.h"
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
#include "tensor/twins/elementwise.h"
}
