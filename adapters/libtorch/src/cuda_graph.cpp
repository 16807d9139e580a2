#include "cuda_graph.hpp"

#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace pushforward::libtorch {

namespace {

class cuda_graph : public captured_pass {
public:
  explicit cuda_graph(const std::function<at::Tensor()>& pass) {
    const auto stream = at::cuda::getStreamFromPool(); // the default stream cannot be recorded
    at::cuda::getCurrentCUDAStream().synchronize();
    const c10::cuda::CUDAStreamGuard on(stream);
    for (int i = 0; i < 3; ++i) pass(); // handles, workspaces and choices of algorithms
    stream.synchronize();
    graph_.capture_begin();
    try {
      output_ = pass();
    } catch (...) {
      end_in_silence();
      throw;
    }
    graph_.capture_end();
    stream.synchronize();
  }

  at::Tensor replay(const std::function<void()>& set_inputs) override {
    const auto stream = at::cuda::getCurrentCUDAStream();
    done_.block(stream);
    set_inputs();
    graph_.replay();
    at::Tensor y = output_.clone();
    done_.record(stream);
    return y;
  }

private:
  /// Or the stream would stay in capture. What had broken the pass breaks this, too.
  void end_in_silence() {
    try {
      graph_.capture_end();
    } catch (const std::exception&) {
      return;
    }
  }

  at::cuda::CUDAGraph graph_;
  at::cuda::CUDAEvent done_;
  at::Tensor output_; ///< written anew by each replay
};

} // namespace

std::unique_ptr<captured_pass> cuda_graph_of(const std::function<at::Tensor()>& pass) {
  return std::make_unique<cuda_graph>(pass);
}

} // namespace pushforward::libtorch

/// For programs that load this as a module, where they were built without CUDA.
extern "C" pushforward::libtorch::captured_pass*
pushforward_cuda_graph_of(const std::function<at::Tensor()>& pass);

pushforward::libtorch::captured_pass* pushforward_cuda_graph_of(const std::function<at::Tensor()>& pass) {
  return pushforward::libtorch::cuda_graph_of(pass).release();
}
