#pragma once
/// \file
/// How the networks of a checkpoint are brought into memory.

#include "model.hpp"

#include <pushforward/libtorch/models/checkpoint.hpp>
#include <pushforward/libtorch/models/weights.hpp>

#include <string>

namespace stable_diffusion {

/// \param standard the device where the part names none. \throws pushforward::bad_option
pushforward::libtorch::models::placement placement_of(const part_placement& part,
                                                      const std::string& standard);

/// \throws pushforward::bad_option where the tensors of a part do not fit into the memory that is free, as
/// the type that is asked for
void require_room(const pushforward::libtorch::models::checkpoint_part& part,
                  const pushforward::libtorch::models::placement& where, const std::string& what);

/// Its weights, which Ctrl-C keeps from being loaded to their end.
pushforward::libtorch::models::weights
stoppable_weights(const pushforward::libtorch::models::checkpoint_part& part,
                  const pushforward::libtorch::models::placement& where);

} // namespace stable_diffusion
