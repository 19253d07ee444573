// Element types of tensors, and the map between the enum and C++ types.
#pragma once
#include <cstdint>
#include <cstring>

#include "tensor/check.h"

namespace switchyard {

enum class DType { F32, F64, BF16, I32, I64, U8 };

// bfloat16 as storage: the upper half of a float, rounded to nearest even. Arithmetic happens in f32.
struct BFloat16 {
  uint16_t bits;
  BFloat16() = default;
  explicit BFloat16(float x) {
    uint32_t u;
    std::memcpy(&u, &x, 4);
    bits = (u & 0x7fffffffu) > 0x7f800000u ? uint16_t((u >> 16) | 64)
                                           : uint16_t((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  explicit operator float() const {
    uint32_t u = uint32_t(bits) << 16;
    float x;
    std::memcpy(&x, &u, 4);
    return x;
  }
};

template <class T> inline constexpr bool kIsDType = false;
template <class T> inline constexpr DType kDTypeOf = DType::F32;
#define SWITCHYARD_DTYPE(T, E)                            \
  template <> inline constexpr bool kIsDType<T> = true;   \
  template <> inline constexpr DType kDTypeOf<T> = DType::E;
SWITCHYARD_DTYPE(float, F32)
SWITCHYARD_DTYPE(double, F64)
SWITCHYARD_DTYPE(BFloat16, BF16)
SWITCHYARD_DTYPE(int32_t, I32)
SWITCHYARD_DTYPE(int64_t, I64)
SWITCHYARD_DTYPE(uint8_t, U8)
#undef SWITCHYARD_DTYPE

inline int64_t size_of(DType t) {
  switch (t) {
    case DType::F64:
    case DType::I64: return 8;
    case DType::F32:
    case DType::I32: return 4;
    case DType::BF16: return 2;
    case DType::U8: return 1;
  }
  return 0;
}

inline const char* name_of(DType t) {
  constexpr const char* names[] = {"f32", "f64", "bf16", "i32", "i64", "u8"};
  return names[int(t)];
}

// FLOAT_DISPATCH(x.dtype(), T, { ... }): runs the body with T = float or double.
#define FLOAT_DISPATCH(dtype_value, T, ...)                                            \
  do {                                                                                 \
    const ::switchyard::DType dispatch_dtype = (dtype_value);                          \
    if (dispatch_dtype == ::switchyard::DType::F32) {                                  \
      using T = float;                                                                 \
      __VA_ARGS__                                                                      \
    } else if (dispatch_dtype == ::switchyard::DType::F64) {                           \
      using T = double;                                                                \
      __VA_ARGS__                                                                      \
    } else {                                                                           \
      throw ::switchyard::Error(::switchyard::concat(__func__, ": needs f32 or f64, got ", \
                                                     ::switchyard::name_of(dispatch_dtype))); \
    }                                                                                  \
  } while (0)

}  // namespace switchyard
