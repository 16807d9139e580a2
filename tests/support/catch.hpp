#pragma once
/// \file
/// Catch2, version 2 or 3, for every test. Include this and never a header of Catch2's own.
///
/// libtorch defines CHECK too: where its headers come after Catch2's, a failing CHECK would silently be
/// libtorch's, which ends the program. Its logging header is therefore taken in first and its CHECK taken
/// away; the order of the includes in a test does not matter.

#if __has_include(<c10/util/Logging.h>)
#include <c10/util/Logging.h>
#undef CHECK
#endif

#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_approx.hpp>
#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_all.hpp>
#include <catch2/matchers/catch_matchers_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif

#include <string>

namespace testing_support {

/// Matches a text that contains `part`; Catch2 renamed its own in version 3.
inline auto contains_text(const std::string& part) {
#if __has_include(<catch2/catch_test_macros.hpp>)
  return Catch::Matchers::ContainsSubstring(part);
#else
  return Catch::Matchers::Contains(part);
#endif
}

} // namespace testing_support
