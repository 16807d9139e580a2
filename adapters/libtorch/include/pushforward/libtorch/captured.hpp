#pragma once
/// \file
/// Passes of a network that a device is given as a whole, in place of one launch for each operator.
///
/// At a batch of one a pass of a UNet on CUDA waits for the host, which launches hundreds of operators. A
/// CUDA graph records them once, and is launched again with other inputs.

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceType.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace pushforward::libtorch {

/// A network: (x, time [N]) -> raw output of x's shape. Called with x in the compute type, and with the time
/// in float32, or float64 where it computes in that. It must leave x as it is.
using network = std::function<at::Tensor(const at::Tensor& x, const at::Tensor& time)>;

/// A pass as a device recorded it.
class captured_pass {
public:
  virtual ~captured_pass() = default;
  /// Calls `set_inputs`, which overwrites the tensors that the pass read when it was recorded, and runs it.
  /// All of it on the current stream, after what an earlier replay is still doing on another.
  /// \return the output, which the next replay does not touch
  virtual at::Tensor replay(const std::function<void()>& set_inputs) = 0;
};

/// Records a pass, after some that warm it up. May throw; then nothing is captured.
using capture_function =
    std::function<std::unique_ptr<captured_pass>(const std::function<at::Tensor()>& pass)>;

/// Says how passes are recorded on devices of a kind, from now on and for all threads; an empty function: not
/// at all. CUDA's is there from the start in a build with PUSHFORWARD_LIBTORCH_CUDA.
void capture_with(c10::DeviceType kind, capture_function capture);
bool can_capture(c10::DeviceType kind);

struct capture_options {
  /// So many shapes of input are kept; the one that was not used for longest makes room for another. Each
  /// holds the memory of a pass.
  std::size_t shapes = 4;
  /// Told once, in words, why passes are not captured, where they cannot be.
  std::function<void(const std::string& why)> tell{};
};

/// The network, whose passes on a device that can are recorded at the first input of each shape, type and
/// layout, and replayed from then on, with the same result to the bit. The network must then do the same for
/// the same shape: what it reads besides x and the time must stay where it is, and nothing may ask the device
/// for values.
///
/// Elsewhere, under autograd and forward-mode differentiation, and where recording fails, the network itself
/// is called. Copies share what was recorded; calls from several threads wait for each other.
/// \throws bad_option for no network, or no shape to keep
network captured(network f, capture_options options = {});

} // namespace pushforward::libtorch
