// From a field's type to an Option: how each type is read and printed. Included by flags.h only.
#pragma once
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "data/utf8.h"
#include "tensor/check.h"

namespace switchyard {
namespace flags {

template <class T>
inline constexpr bool kOptional = false;
template <class T>
inline constexpr bool kOptional<std::optional<T>> = true;

std::string join(const std::vector<std::string>& parts, const std::string& between);

// The whole text must be one value: "12abc", "", "1e400" are refused by UserError("what was expected").
template <class T>
T parse_value(const std::string& text) {
  if constexpr (kOptional<T>) {  // "none" = empty
    return text == "none" ? T() : T(parse_value<typename T::value_type>(text));
  } else if constexpr (std::is_same_v<T, std::string>) {
    return text;
  } else if constexpr (std::is_same_v<T, bool>) {  // "" = a flag without a value
    const bool yes = text.empty() || text == "1" || text == "true";
    user_check(yes || text == "0" || text == "false", "one of 0, 1, true, false");
    return yes;
  } else {
    using Limits = std::numeric_limits<T>;
    T value{};
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool finite = value - value == 0;
    user_check(error == std::errc() && stop == text.data() + text.size() && finite,
               std::is_integral_v<T>
                   ? concat("an integer from ", Limits::min(), " to ", Limits::max())
                   : "a finite number such as 0.1 or 1e-6");
    return value;
  }
}

// The shortest text that reads back as the same value.
template <class T>
std::string print_value(const T& value) {
  if constexpr (kOptional<T>) {
    return value ? print_value(*value) : "none";
  } else if constexpr (std::is_same_v<T, std::string>) {
    return value;
  } else if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else {
    char buffer[32];
    const std::string text(buffer, std::to_chars(buffer, buffer + sizeof(buffer), value).ptr);
    // TOML tells 1.0 from the integer 1
    return std::is_integral_v<T> || text.find_first_of(".en") < text.size() ? text : text + ".0";
  }
}

template <class T>
const char* type_name() {
  if constexpr (kOptional<T>) return type_name<typename T::value_type>();
  if (std::is_same_v<T, std::string>) return "TEXT";
  if (std::is_same_v<T, bool>) return "0|1";
  return std::is_integral_v<T> ? "INTEGER" : "NUMBER";
}

}  // namespace flags

template <class T>
void OptionList::operator()(T& field, const std::string& names, const std::string& help,
                            const std::vector<std::string>& choices) {
  Option option;
  option.names = split_list(names);
  option.name = option.names.at(0);
  const std::string default_text = flags::print_value(field), shown = flags::join(choices, ",");
  option.help = concat(help, choices.empty() ? "" : concat(" {", shown, "}"), " [",
                       default_text.empty() ? "\"\"" : default_text, "]");
  option.group = group_;
  option.type_name = flags::type_name<T>();
  option.print = [&field] { return flags::print_value(field); };
  option.parse = [&field, name = option.name, choices](const std::string& text) {
    try {
      const T value = flags::parse_value<T>(text);
      user_check(choices.empty() || std::count(choices.begin(), choices.end(), text) > 0,
                 "one of " + flags::join(choices, ", "));
      field = value;
    } catch (const UserError& expected) {
      throw UserError(concat("--", name, ": '", text, "' is not ", expected.what()));
    }
  };
  options.push_back(std::move(option));
}

}  // namespace switchyard
