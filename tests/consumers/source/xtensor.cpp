// Uses the core with xtensor's arrays.

#include "steer.hpp"

#include <pushforward/xtensor/tensor.hpp>

int main() { return steer(pushforward::xtensor::tensor<float>{{-1.5F, 0.25F}, {1.0F, 0.5F}}); }
