#pragma once
/// \file
/// What is thrown where a call of CUDA fails.

#include <pushforward/error.hpp>

#include <cuda_runtime_api.h>

#include <string>

namespace pushforward::cuda {

/// A call of CUDA failed. `what()` names it, CUDA's own word for the fault, and what to do about it.
class cuda_error : public error {
public:
  /// \param doing what failed ("the launch of a kernel", ...)
  cuda_error(const std::string& doing, cudaError_t code);

  cudaError_t code() const noexcept { return code_; }

private:
  cudaError_t code_;
};

/// \throws cuda_error unless `code` is cudaSuccess
void require(cudaError_t code, const char* doing);

/// Devices that can be used; 0 where there is no driver.
int device_count() noexcept;

} // namespace pushforward::cuda
