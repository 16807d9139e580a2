#pragma once
/// \file
/// Marks functions that run on the host and, where nvcc compiles them, on a CUDA device too.

#if defined(__CUDACC__)
#define PUSHFORWARD_HOST_DEVICE __host__ __device__
#else
#define PUSHFORWARD_HOST_DEVICE
#endif
