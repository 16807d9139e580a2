// Decoders and pullbacks, each for want of one member.
#include "parts.hpp"

using parts::T;
using pushforward::decoded, pushforward::decoder_vjp, pushforward::encoder_difference;

template <class Constraint> void run(T x, const Constraint& c) {
  pushforward::sample(x, parts::model, parts::sampler, c, parts::update);
}

struct decodes_only {
  T decode(const T&) const;
};
// error: the decoder has no `linearize_decode(z) const` that returns a linearization<T>
template void run(T, const decoded<parts::constraint, decodes_only, decoder_vjp>&);
// error: the decoder has no `encode(image) const` that returns a tensor of the image's type
template void run(T, const decoded<parts::constraint, decodes_only, encoder_difference>&);

struct encodes_only {
  T encode(const T&) const;
};
// error: the decoder has no `decode(z) const` that returns a tensor of z's type (docs/concepts/decoder.md)
template void run(T, const decoded<parts::constraint, encodes_only, encoder_difference>&);

struct linearizes_only {
  pushforward::linearization<T> linearize_decode(const T&) const;
};
// error: the decoder has no `decode(z) const` that returns a tensor of z's type (docs/concepts/decoder.md)
template void run(T, const decoded<parts::constraint, linearizes_only, decoder_vjp>&);

struct decode_not_const : encodes_only {
  T decode(const T&);
};
// error: the decoder has no `decode(z) const` that returns a tensor of z's type (docs/concepts/decoder.md)
template void run(T, const decoded<parts::constraint, decode_not_const, encoder_difference>&);

struct pulls_nothing_back {};
// error: the decoder has no `decode(z) const` that returns a tensor of z's type (docs/concepts/decoder.md)
template void run(T, const decoded<parts::constraint, encodes_only, pulls_nothing_back>&);
// error: the pullback is not callable as `p(decoder, constraint, z, counts)` with a constraint_value<T>
template void run(T, const decoded<parts::constraint, decodes_only, pulls_nothing_back>&);

// as one term of a sum, normalized
// error: the decoder has no `encode(image) const` that returns a tensor of the image's type
template void
run(T, const pushforward::weighted_sum<
           parts::constraint, pushforward::normalized<decoded<pushforward::normalized<parts::constraint>,
                                                              decodes_only, encoder_difference>>>&);

// nothing is wrong with these
struct complete : decodes_only {
  T encode(const T&) const;
  pushforward::linearization<T> linearize_decode(const T&) const;
};
template void run(T, const decoded<parts::constraint, complete, decoder_vjp>&);
template void run(T, const decoded<parts::constraint, complete, encoder_difference>&);
