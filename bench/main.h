// The main of a benchmark program: run(argc, argv); a mistake is one line and exit code 2.
#pragma once
#include <exception>
#include <iostream>

namespace switchyard::bench {

inline int guarded(int (*run)(int, char**), int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 2;
  }
}

}  // namespace switchyard::bench
