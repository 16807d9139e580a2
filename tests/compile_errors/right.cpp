// Nothing is wrong here: what the other programs change one thing of.
#include "parts.hpp"

void run(parts::T x) {
  using namespace parts;
  pushforward::sample(x, model, sampler, known, update);
}
