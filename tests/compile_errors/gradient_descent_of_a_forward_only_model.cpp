// error: this update policy needs backward passes, and the denoiser can only run forward
#include "parts.hpp"

void run(parts::T x) {
  using namespace parts;
  pushforward::sample(x, model, sampler, known, pushforward::update{pushforward::gradient_descent{}});
}
