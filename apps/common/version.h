// What --version prints: everything a bug report should say about the build and the machine.
#pragma once
#include <string>

namespace switchyard {

std::string project_version();                     // "0.1": also in signatures of scores
std::string version_text(const std::string& app);  // several lines

}  // namespace switchyard
