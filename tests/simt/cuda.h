// The driver's tensor map on the emulated GPU: a stack of bf16 matrices and the height of its boxes.
#pragma once
#include <cstdint>

struct CUtensorMap {
  const uint16_t* data;
  int64_t columns, rows, groups;
  int64_t box_rows;  // without padding, see use_argument()
};
