#pragma once
/// \file
/// xtensor's headers, wherever this version keeps them: 0.26 moved them into subfolders.

#if __has_include(<xtensor/containers/xarray.hpp>)
#include <xtensor/containers/xarray.hpp>
#else
#include <xtensor/xarray.hpp>
#endif
