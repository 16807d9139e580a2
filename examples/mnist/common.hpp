#pragma once
/// \file
/// What the programs of all examples share, under this example's namespace.

#include <common/console.hpp>
#include <common/files.hpp>
#include <common/png.hpp>
#include <common/usage.hpp>

namespace mnist {

using namespace examples;

} // namespace mnist
