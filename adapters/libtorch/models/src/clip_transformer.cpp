#include "clip_transformer.hpp"

#include <ATen/ATen.h>

#include <utility>

namespace pushforward::libtorch::models {

clip_transformer::block::block(const weights& w, const shape& s)
    : norm1{w.below("layer_norm1."), s.width, s.epsilon}, q{w.below("self_attn.q_proj."), s.width, s.width},
      k{w.below("self_attn.k_proj."), s.width, s.width}, v{w.below("self_attn.v_proj."), s.width, s.width},
      out{w.below("self_attn.out_proj."), s.width, s.width}, norm2{w.below("layer_norm2."), s.width,
                                                                   s.epsilon},
      up{w.below("mlp.fc1."), s.width, s.inner}, down{w.below("mlp.fc2."), s.inner, s.width} {}

clip_transformer::clip_transformer(const weights& w, const shape& s) : shape_{s} {
  for (std::int64_t i = 0; i < s.layers; ++i)
    blocks_.emplace_back(w.below("encoder.layers." + std::to_string(i) + "."), s);
}

at::Tensor clip_transformer::operator()(at::Tensor x, std::int64_t blocks) const {
  for (std::int64_t i = 0; i < blocks; ++i) {
    const block& b = blocks_[static_cast<std::size_t>(i)];
    const at::Tensor y = b.norm1(x);
    x = x + b.out(attention(b.q(y), b.k(y), b.v(y), shape_.heads, shape_.causal));
    const at::Tensor u = b.up(b.norm2(x));
    x = x + b.down(shape_.quick_gelu ? u * at::sigmoid(1.702 * u) : at::gelu(u));
  }
  return x;
}

at::Tensor clip_projection(const weights& w, const std::string& name, std::int64_t in, std::int64_t out) {
  if (w.contains(name + ".weight")) return w.take(name + ".weight", {out, in});
  return w.contains(name) ? w.take(name, {in, out}).t() : at::Tensor();
}

naming open_clip_names(std::string prefix, std::map<std::string, std::string> outer) {
  static const std::map<std::string, std::string> inner{{"self_attn.out_proj.", "attn.out_proj."},
                                                        {"layer_norm1.", "ln_1."},
                                                        {"layer_norm2.", "ln_2."},
                                                        {"mlp.fc1.", "mlp.c_fc."},
                                                        {"mlp.fc2.", "mlp.c_proj."}};
  return [prefix = std::move(prefix), outer = std::move(outer)](const std::string& name) -> stored_at {
    const std::string layers = "encoder.layers.", projections = "self_attn.";
    const std::size_t number_end = name.find('.', layers.size());
    if (!name.starts_with(layers) || number_end == name.npos) {
      const auto found = outer.find(name);
      return {prefix + (found == outer.end() ? name : found->second)};
    }
    const std::string block =
        prefix + "transformer.resblocks." + name.substr(layers.size(), number_end + 1 - layers.size());
    const std::string module = name.substr(number_end + 1, name.rfind('.') - number_end);
    const std::string parameter = name.substr(name.rfind('.') + 1);
    if (const auto found = inner.find(module); found != inner.end())
      return {block + found->second + parameter};
    const auto which = module.size() > projections.size()
                           ? std::string("qkv").find(module[projections.size()])
                           : std::string::npos;
    if (!module.starts_with(projections) || which == std::string::npos) return {block + module + parameter};
    return {block + "attn.in_proj_" + parameter, static_cast<std::int64_t>(which), 3};
  };
}

} // namespace pushforward::libtorch::models
