#include <pushforward/cuda/error.hpp>

namespace pushforward::cuda {

namespace {

const char* remedy_of(cudaError_t code) {
  switch (code) {
  case cudaErrorNoDevice:
  case cudaErrorInsufficientDriver:
    return "run where there is an NVIDIA GPU with a driver for this version of CUDA (nvidia-smi shows both), "
           "or "
           "on executor::host()";
  case cudaErrorInvalidDevice:
    return "nvidia-smi lists the devices; CUDA_VISIBLE_DEVICES may hide some";
  case cudaErrorMemoryAllocation:
    return "take a smaller batch, or free what other programs hold on the device (nvidia-smi shows them)";
  case cudaErrorNoKernelImageForDevice:
  case cudaErrorUnsupportedPtxVersion:
    return "pushforward::cuda was not compiled for this device: build it with "
           "-DCMAKE_CUDA_ARCHITECTURES=native "
           "there, or update the driver";
  case cudaErrorNotSupported:
    return "the device or its driver lacks what is asked for; memory pools take CUDA 11.2 and a device that "
           "has "
           "them";
  case cudaErrorStreamCaptureUnsupported:
  case cudaErrorStreamCaptureInvalidated:
    return "a stream that is being captured cannot be waited for: leave elements, values and all_finite (a "
           "finite check, a tolerance) out of what is captured";
  case cudaErrorInvalidResourceHandle:
  case cudaErrorContextIsDestroyed:
    return "the stream must be one of the device that was current when the executor was made, and must live "
           "as "
           "long as what runs on it";
  default:
    return "kernels report late: it may be an earlier one, of the denoiser's too; run under "
           "compute-sanitizer, or "
           "with CUDA_LAUNCH_BLOCKING=1, to see which";
  }
}

} // namespace

cuda_error::cuda_error(const std::string& doing, cudaError_t code)
    : error(doing + " failed: " + cudaGetErrorString(code) + " (" + cudaGetErrorName(code) +
            "): " + remedy_of(code)),
      code_{code} {}

void require(cudaError_t code, const char* doing) {
  if (code == cudaSuccess) return;
  cudaGetLastError(); // what was told is not told again by the next call
  throw cuda_error(doing, code);
}

int device_count() noexcept {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

} // namespace pushforward::cuda
