#include "any_path.hpp"

namespace examples {

using pushforward::bad_option;

pushforward::path_sampler any_path::sampler(const sampling& o) const {
  if (!is_flow()) {
    if (o.renoise != 0.0) throw bad_option("renoise is an option of flows; diffusion models have eta");
    return pushforward::ddim(
        diffusion(),
        {o.steps, o.eta,
         o.one_step_beta ? pushforward::ddim_noise::one_step_beta : pushforward::ddim_noise::eta, o.start});
  }
  if (o.eta != 0.0 || o.one_step_beta)
    throw bad_option("eta and one-step-beta are options of diffusion models; flows have renoise");
  return pushforward::rectified_flow_euler(std::get<pushforward::rectified_flow>(path_),
                                           {o.steps, o.renoise, o.start, grid_});
}

} // namespace examples
