#pragma once
/// \file
/// Precompiled for the tests that use libtorch: these headers take most of the time of compiling one.

#include <ATen/ATen.h>
#include <support/catch.hpp>
#include <torch/csrc/autograd/variable.h>
