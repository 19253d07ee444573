// Element types of tensors, and the map between the enum and C++ types.
#pragma once
#include <bit>
#include <cstdint>
#include <type_traits>

#include "tensor/check.h"

namespace switchyard {

enum class DType { F32, F64, BF16, I32, I64, U8 };

// bfloat16 as storage: the upper half of a float, rounded to nearest even. Arithmetic happens in f32 (Compute).
struct BFloat16 {
  uint16_t bits;
  BFloat16() = default;
  constexpr explicit BFloat16(float x) : bits(rounded(x)) {}
  constexpr operator float() const { return std::bit_cast<float>(uint32_t(bits) << 16); }

 private:
  static constexpr uint16_t rounded(float x) {
    const auto u = std::bit_cast<uint32_t>(x);
    return (u & 0x7fffffffu) > 0x7f800000u ? uint16_t((u >> 16) | 64)
                                           : uint16_t((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
};

// The type in which kernels compute with elements of type T
template <class T>
using Compute = std::conditional_t<std::is_same_v<std::remove_const_t<T>, BFloat16>, float,
                                   std::remove_const_t<T>>;
template <class T>
inline constexpr bool kRounded = !std::is_same_v<std::remove_const_t<T>, Compute<T>>;
inline DType compute_type(DType t) { return t == DType::BF16 ? DType::F32 : t; }

// f(T()) with the C++ type T of the enum
template <class F>
auto with_type(DType t, const F& f) {
  if (t == DType::F64) return f(double());
  if (t == DType::BF16) return f(BFloat16());
  if (t == DType::I32) return f(int32_t());
  if (t == DType::I64) return f(int64_t());
  if (t == DType::U8) return f(uint8_t());
  return f(float());
}

template <class T>
inline constexpr DType kDTypeOf = std::is_same_v<T, double>     ? DType::F64
                                  : std::is_same_v<T, BFloat16> ? DType::BF16
                                  : std::is_same_v<T, int32_t>  ? DType::I32
                                  : std::is_same_v<T, int64_t>  ? DType::I64
                                  : std::is_same_v<T, uint8_t>  ? DType::U8
                                                                : DType::F32;

inline int64_t size_of(DType t) {
  return with_type(t, [](auto x) { return int64_t(sizeof x); });
}

inline const char* name_of(DType t) {
  constexpr const char* names[] = {"f32", "f64", "bf16", "i32", "i64", "u8"};
  return names[int(t)];
}

// f(T()) with T = float or double; other types are an error of the kernel
template <class F>
void with_float(const char* kernel, DType t, const F& f) {
  if (t == DType::F32) f(float());
  else if (t == DType::F64) f(double());
  else throw Error(concat(kernel, ": needs f32 or f64, got ", name_of(t)));
}

// FLOAT_DISPATCH(x.dtype(), T, { ... }): runs the body with T = float or double.
#define FLOAT_DISPATCH(dtype, T, ...)                           \
  ::switchyard::with_float(__func__, dtype, [&](auto element) { \
    using T = decltype(element);                                \
    __VA_ARGS__                                                 \
  })

// f(T()) with the element type of a kernel's matrices: float, double or BFloat16
template <class F>
void with_element(const char* kernel, DType t, const F& f) {
  if (t == DType::F32) f(float());
  else if (t == DType::F64) f(double());
  else if (t == DType::BF16) f(BFloat16());
  else throw Error(concat(kernel, ": needs f32, f64 or bf16, got ", name_of(t)));
}
#define ELEMENT_DISPATCH(dtype, T, ...)                           \
  ::switchyard::with_element(__func__, dtype, [&](auto element) { \
    using T = decltype(element);                                  \
    __VA_ARGS__                                                   \
  })

}  // namespace switchyard
