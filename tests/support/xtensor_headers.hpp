#pragma once
/// \file
/// Precompiled for the tests that use xtensor: these headers take much of the time of compiling one.

#include <pushforward/xtensor/dense_algebra.hpp>
#include <pushforward/xtensor/tensor.hpp>
#include <support/catch.hpp>
