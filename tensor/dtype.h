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
  operator float() const {
    uint32_t u = uint32_t(bits) << 16;
    float x;
    std::memcpy(&x, &u, 4);
    return x;
  }
};

template <class T>
inline constexpr DType kDTypeOf = DType::F32;
template <>
inline constexpr DType kDTypeOf<double> = DType::F64;
template <>
inline constexpr DType kDTypeOf<BFloat16> = DType::BF16;
template <>
inline constexpr DType kDTypeOf<int32_t> = DType::I32;
template <>
inline constexpr DType kDTypeOf<int64_t> = DType::I64;
template <>
inline constexpr DType kDTypeOf<uint8_t> = DType::U8;

// f(T()) with the C++ type T of the enum
template <class F>
auto with_type(DType t, const F& f) {
  switch (t) {
    case DType::F64:
      return f(double());
    case DType::BF16:
      return f(BFloat16());
    case DType::I32:
      return f(int32_t());
    case DType::I64:
      return f(int64_t());
    case DType::U8:
      return f(uint8_t());
    default:
      return f(float());
  }
}

inline int64_t size_of(DType t) {
  return with_type(t, [](auto x) { return int64_t(sizeof x); });
}

inline const char* name_of(DType t) {
  constexpr const char* names[] = {"f32", "f64", "bf16", "i32", "i64", "u8"};
  return names[int(t)];
}

// FLOAT_DISPATCH(x.dtype(), T, { ... }): runs the body with T = float or double.
#define FLOAT_DISPATCH(dtype_value, T, ...)                                                   \
  do {                                                                                        \
    const ::switchyard::DType dispatch_dtype = (dtype_value);                                 \
    if (dispatch_dtype == ::switchyard::DType::F32) {                                         \
      using T = float;                                                                        \
      __VA_ARGS__                                                                             \
    } else if (dispatch_dtype == ::switchyard::DType::F64) {                                  \
      using T = double;                                                                       \
      __VA_ARGS__                                                                             \
    } else {                                                                                  \
      throw ::switchyard::Error(::switchyard::concat(__func__, ": needs f32 or f64, got ",    \
                                                     ::switchyard::name_of(dispatch_dtype))); \
    }                                                                                         \
  } while (0)

}  // namespace switchyard
