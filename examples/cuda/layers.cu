#include "layers.hpp"

#include <pushforward/cuda/for_each.cuh>
#include <pushforward/cuda/reduce.cuh>
#include <pushforward/cuda/tensor.hpp>

#include <cmath>

namespace digits {

namespace {

using pushforward::shape;
using pushforward::cuda::executor;
using pushforward::cuda::for_each;

/// Extents of images.
struct images {
  std::size_t n, c, h, w;

  explicit images(const batch& x)
      : n{x.extents()[0]}, c{x.extents()[1]}, h{x.extents()[2]}, w{x.extents()[3]} {}
};

batch made(const executor& on, const shape& s) { return {on, s}; }

/// out = f(row, column) for a table of `rows` and as many columns as fill the result.
template <class F> batch filled(const executor& on, const shape& s, std::size_t rows, F f) {
  batch y = made(on, s);
  f.out = y.writable();
  for_each(on, rows, rows == 0 ? 0 : s.elements() / rows, f);
  return y;
}

struct convolve {
  std::size_t in, height, width, out_channels, out_height, out_width, size, stride;
  const float* x;
  const float* weight;
  const float* bias;
  float* out;

  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t n, std::size_t at) const {
    const std::size_t column = at % out_width, row = at / out_width % out_height,
                      o = at / out_width / out_height, padding = size / 2;
    float sum = bias[o];
    for (std::size_t c = 0; c < in; ++c)
      for (std::size_t i = 0; i < size; ++i) {
        const std::size_t y = row * stride + i; // of the padded image
        if (y < padding || y >= height + padding) continue;
        const float* from = x + ((n * in + c) * height + y - padding) * width;
        const float* by = weight + ((o * in + c) * size + i) * size;
        for (std::size_t j = 0; j < size; ++j) {
          const std::size_t k = column * stride + j;
          if (k >= padding && k < width + padding) sum += by[j] * from[k - padding];
        }
      }
    out[n * out_channels * out_height * out_width + at] = sum;
  }
};

struct product {
  std::size_t in, outputs;
  const float* x;
  const float* weight;
  const float* bias;
  float* out;

  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t n, std::size_t o) const {
    float sum = bias[o];
    for (std::size_t i = 0; i < in; ++i) sum += weight[o * in + i] * x[n * in + i];
    out[n * outputs + o] = sum;
  }
};

/// Sum, and sum of squares.
struct moments {
  double first, second;
};

struct moments_of {
  using value_type = moments;
  using result_type = moments;
  std::size_t elements;
  const float* x;

  PUSHFORWARD_HOST_DEVICE moments identity() const { return {0.0, 0.0}; }
  PUSHFORWARD_HOST_DEVICE moments of(std::size_t group, std::size_t k) const {
    const double v = static_cast<double>(x[group * elements + k]);
    return {v, v * v};
  }
  PUSHFORWARD_HOST_DEVICE moments join(const moments& v, const moments& w) const {
    return {v.first + w.first, v.second + w.second};
  }
  PUSHFORWARD_HOST_DEVICE moments result(const moments& v) const {
    const double n = static_cast<double>(elements);
    return {v.first / n, v.second / n};
  }
};

struct normalize {
  std::size_t elements, channels, pixels; ///< of a group; of an image; of a channel
  const moments* of_group;
  const float* x;
  const float* weight;
  const float* bias;
  float* out;

  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t group, std::size_t k) const {
    const std::size_t i = group * elements + k, channel = i / pixels % channels;
    const auto [mean, square] = of_group[group];
    const double variance = square - mean * mean;
    const double v = (static_cast<double>(x[i]) - mean) / std::sqrt((variance > 0.0 ? variance : 0.0) + 1e-5);
    out[i] = static_cast<float>(v) * weight[channel] + bias[channel];
  }
};

struct silu_of {
  const float* x;
  float* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t, std::size_t i) const {
    out[i] = x[i] / (1.0F + std::exp(-x[i]));
  }
};

struct modulate {
  std::size_t channels, pixels;
  const float* x;
  const float* film;
  float* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t, std::size_t i) const {
    const std::size_t c = i / pixels % channels;
    out[i] = x[i] * (film[c] + 1.0F) + film[channels + c];
  }
};

/// Channel d of a head, at one pixel.
struct attend {
  std::size_t width, pixels; ///< channels of a head; of an image
  const float* qkv;
  float* out;

  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t n, std::size_t at) const {
    const std::size_t query = at % pixels, d = at / pixels % width, head = at / pixels / width;
    const float* q = qkv + (n * 12 + head) * width * pixels; // 3 x 4 heads
    const float* k = q + 4 * width * pixels;
    const float* v = k + 4 * width * pixels;
    const auto score = [&](std::size_t key) {
      float sum = 0.0F;
      for (std::size_t i = 0; i < width; ++i) sum += q[i * pixels + query] * k[i * pixels + key];
      return sum / std::sqrt(static_cast<float>(width));
    };
    float largest = score(0);
    for (std::size_t key = 1; key < pixels; ++key) {
      const float s = score(key);
      largest = s > largest ? s : largest;
    }
    float weights = 0.0F, sum = 0.0F;
    for (std::size_t key = 0; key < pixels; ++key) {
      const float w = std::exp(score(key) - largest);
      weights += w;
      sum += w * v[d * pixels + key];
    }
    out[n * 4 * width * pixels + at] = sum / weights;
  }
};

struct join_channels {
  std::size_t of_x, of_y; ///< elements of an image
  const float* x;
  const float* y;
  float* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t n, std::size_t i) const {
    out[n * (of_x + of_y) + i] = i < of_x ? x[n * of_x + i] : y[n * of_y + i - of_x];
  }
};

struct enlarge {
  std::size_t height, width; ///< of x
  const float* x;
  float* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t channel, std::size_t at) const {
    const std::size_t row = at / (2 * width), column = at % (2 * width);
    out[channel * 4 * height * width + at] = x[(channel * height + row / 2) * width + column / 2];
  }
};

/// Between 4C x H x W and C x 2H x 2W; `at` counts the first.
struct rearrange {
  std::size_t height, width; ///< of the small images
  bool to_channels;
  const float* x;
  float* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t channel, std::size_t at) const {
    const std::size_t column = at % width, row = at / width % height, part = at / width / height;
    const std::size_t small = channel * 4 * height * width + at;
    const std::size_t large = (channel * 2 * height + 2 * row + part / 2) * 2 * width + 2 * column + part % 2;
    if (to_channels)
      out[small] = x[large];
    else
      out[large] = x[small];
  }
};

struct sinusoids {
  double time;
  float* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t, std::size_t i) const {
    const double angle = time * std::exp(static_cast<double>(i % 32) * (-std::log(1000.0) / 31.0));
    out[i] = static_cast<float>(i < 32 ? std::sin(angle) : std::cos(angle));
  }
};

} // namespace

batch convolution(const batch& x, const batch& weight, const batch& bias, std::size_t stride) {
  const images from(x), by(weight);
  const std::size_t height = (from.h - 1) / stride + 1, width = (from.w - 1) / stride + 1;
  return filled(x.on(), {from.n, by.n, height, width}, from.n,
                convolve{from.c, from.h, from.w, by.n, height, width, by.h, stride, x.data(), weight.data(),
                         bias.data(), nullptr});
}

batch linear(const batch& x, const batch& weight, const batch& bias) {
  const std::size_t n = x.extents()[0], in = x.extents()[1], out = weight.extents()[0];
  return filled(x.on(), {n, out}, n, product{in, out, x.data(), weight.data(), bias.data(), nullptr});
}

batch group_norm(const batch& x, const batch& weight, const batch& bias) {
  const images from(x);
  const std::size_t groups = from.n * 8, elements = from.c / 8 * from.h * from.w;
  pushforward::cuda::array<moments> of_group(x.on(), {groups});
  pushforward::cuda::reduce(x.on(), groups, elements, moments_of{elements, x.data()}, of_group.writable());
  return filled(x.on(), x.extents(), groups,
                normalize{elements, from.c, from.h * from.w, of_group.data(), x.data(), weight.data(),
                          bias.data(), nullptr});
}

batch silu(const batch& x) { return filled(x.on(), x.extents(), 1, silu_of{x.data(), nullptr}); }

batch modulated(const batch& x, const batch& film) {
  const images from(x);
  return filled(x.on(), x.extents(), 1, modulate{from.c, from.h * from.w, x.data(), film.data(), nullptr});
}

batch attention(const batch& qkv) {
  const images from(qkv);
  return filled(qkv.on(), {from.n, from.c / 3, from.h, from.w}, from.n,
                attend{from.c / 12, from.h * from.w, qkv.data(), nullptr});
}

batch sum(const batch& x, const batch& y) {
  return pushforward::tensor_traits<batch>::combine(1.0, x, 1.0, y);
}

batch channels(const batch& x, const batch& y) {
  const images first(x), second(y);
  return filled(x.on(), {first.n, first.c + second.c, first.h, first.w}, first.n,
                join_channels{x.extents().sample_elements(), y.extents().sample_elements(), x.data(),
                              y.data(), nullptr});
}

batch enlarged(const batch& x) {
  const images from(x);
  return filled(x.on(), {from.n, from.c, 2 * from.h, 2 * from.w}, from.n * from.c,
                enlarge{from.h, from.w, x.data(), nullptr});
}

batch squares_to_channels(const batch& x) {
  const images from(x);
  return filled(x.on(), {from.n, 4 * from.c, from.h / 2, from.w / 2}, from.n * from.c,
                rearrange{from.h / 2, from.w / 2, true, x.data(), nullptr});
}

batch channels_to_squares(const batch& x) {
  const images from(x);
  return filled(x.on(), {from.n, from.c / 4, 2 * from.h, 2 * from.w}, from.n * from.c / 4,
                rearrange{from.h, from.w, false, x.data(), nullptr});
}

batch time_features(const executor& on, double time) {
  return filled(on, {1, 64}, 1, sinusoids{time, nullptr});
}

} // namespace digits
