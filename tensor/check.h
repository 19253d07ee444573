// The only error helpers: Error (something is wrong), UserError (the user's mistake: exit code 2),
// check() and concat().
#pragma once
#include <source_location>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace switchyard {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// A mistake in flags, files or data: printed as one line, without source position; exit code 2.
struct UserError : Error {
  using Error::Error;
};

template <class... A>
std::string concat(const A&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

inline void check(bool ok, std::string_view message,
                  std::source_location at = std::source_location::current()) {
  if (!ok) throw Error(concat(message, " (", at.file_name(), ":", at.line(), ")"));
}
inline void user_check(bool ok, const std::string& message) {
  if (!ok) throw UserError(message);
}

}  // namespace switchyard
