// The driver's tensor map on the emulated GPU: a stack of bf16 matrices and the height of its boxes.
#pragma once
#include <cstdint>

struct CUtensorMap {
  const uint16_t* data;
  int64_t columns, rows, groups;
  int box_rows;
};
