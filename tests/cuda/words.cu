// The random words of the noise as a device makes them.

#include "words.hpp"

#include <pushforward/cuda/for_each.cuh>
#include <pushforward/noise/philox_normal.hpp>

namespace {

struct words_of {
  pushforward::noise_key key;
  std::uint32_t* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t sample, std::size_t block) const {
    const auto w = pushforward::noise::philox_words(key.seed, key.first_sample + sample, key.draw,
                                                    static_cast<std::uint32_t>(block));
    for (std::size_t k = 0; k < 4; ++k) out[(sample * 64 + block) * 4 + k] = w[k];
  }
};

} // namespace

pushforward::cuda::array<std::uint32_t> words_on(const pushforward::cuda::executor& on,
                                                 const pushforward::noise_key& key) {
  pushforward::cuda::array<std::uint32_t> words(on, {3, 64, 4});
  pushforward::cuda::for_each(on, 3, 64, words_of{key, words.writable()});
  return words;
}
