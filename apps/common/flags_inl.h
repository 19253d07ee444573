// From a field's type to an Option: how each type is read, printed and described. Included by flags.h only.
#pragma once
#include <cstdint>
#include <type_traits>
#include <utility>

#include "tensor/check.h"

namespace switchyard {
namespace flags {

// The whole text must be one value: "12abc", "", "1e400" are refused. Each throws UserError("what was expected").
void parse_value(const std::string& text, int& value);
void parse_value(const std::string& text, int64_t& value);
void parse_value(const std::string& text, double& value);
void parse_value(const std::string& text, bool& value);  // "" (a flag without a value) is true
void parse_value(const std::string& text, std::string& value);

// Shortest text that reads back as the same value.
std::string print_value(int value);
std::string print_value(int64_t value);
std::string print_value(double value);
std::string print_value(bool value);
std::string print_value(const std::string& value);

// An empty optional is written "none".
template <class T>
void parse_value(const std::string& text, std::optional<T>& value) {
  if (text == "none") {
    value.reset();
    return;
  }
  T inner{};
  parse_value(text, inner);
  value = inner;
}
template <class T>
std::string print_value(const std::optional<T>& value) {
  return value ? print_value(*value) : "none";
}

template <class T>
struct Inner {
  using type = T;
};
template <class T>
struct Inner<std::optional<T>> {
  using type = T;
};

std::string join(const std::vector<std::string>& parts, const std::string& between);

}  // namespace flags

template <class T>
void OptionList::operator()(T& field, const std::string& name, const std::string& help,
                            std::vector<std::string> choices) {
  using Value = typename flags::Inner<T>::type;
  Option option;
  option.name = name.substr(0, name.find(','));
  option.all_names = name;
  option.help = help;
  option.group = group_.empty() ? "Options" : group_;
  option.default_text = flags::print_value(field);
  option.is_bool = std::is_same_v<T, bool>;
  option.is_text = std::is_same_v<Value, std::string>;
  option.type_name = option.is_text                    ? "TEXT"
                     : std::is_same_v<Value, bool>     ? "0|1"
                     : std::is_floating_point_v<Value> ? "NUMBER"
                                                       : "INTEGER";
  option.choices = std::move(choices);
  option.parse = [&field, name = option.name, choices = option.choices,
                  default_text = option.default_text](const std::string& text) {
    T value = field;
    try {
      flags::parse_value(text, value);
    } catch (const UserError& expected) {
      throw UserError(concat("--", name, ": '", text, "' is not ", expected.what()));
    }
    if (!choices.empty()) {
      const std::string printed = flags::print_value(value);
      // the default is always allowed, so that config.toml reads back
      bool known = printed == default_text || (!std::is_same_v<Value, T> && printed == "none");
      for (const std::string& choice : choices) known = known || choice == printed;
      user_check(known,
                 concat("--", name, ": '", text, "' is not one of ", flags::join(choices, ", ")));
    }
    field = value;
  };
  option.print = [&field] { return flags::print_value(field); };
  options.push_back(std::move(option));
}

}  // namespace switchyard
