// CHECK must be Catch2's whatever the order of the includes (see catch.hpp).
#include <ATen/ATen.h>
#include <support/catch.hpp>
#include <torch/csrc/autograd/variable.h>

#include <string_view>

#define TEXT_OF_EXPANDED(x) #x
#define TEXT_OF(x) TEXT_OF_EXPANDED(x)
static_assert(std::string_view{TEXT_OF(CHECK(true))}.find("Catch::") != std::string_view::npos,
              "CHECK is not Catch2's");
