#pragma once
/// \file
/// CLIP's byte-pair tokenizer: text to the ids that a CLIP text encoder reads.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pushforward::libtorch::models {

/// Gives the ids that `CLIPTokenizer` of transformers 5 gives, from the same folder. Cheap to copy.
///
/// The text is brought to the normal form NFC (of Unicode 9, as there) and to lower case, and split at white
/// space into contractions
/// ('s, 't, 're, 've, 'm, 'll, 'd), runs of letters, single digits and runs of other characters. The bytes of
/// each are merged, pair by pair, in the order of the merges; the last carries the mark of a word's end,
/// "</w>". Special and added tokens are found in the text first, each before or after it is normalised, as
/// its entry says; a model that pads with "!" (Stable Diffusion 2) therefore reads every "!" of a text as
/// padding.
///
/// \see R. Sennrich, B. Haddow, A. Birch, "Neural machine translation of rare words with subword units"
/// (2016)
class clip_tokenizer {
public:
  /// \param folder holds tokenizer.json, or else vocab.json and merges.txt; the names of the special tokens,
  /// the
  ///        tokens that were added, and the length are taken from tokenizer_config.json,
  ///        special_tokens_map.json and added_tokens.json where these are there, else they are CLIP's
  /// \throws bad_file for a file that is missing, malformed, or contradicts the vocabulary
  explicit clip_tokenizer(const std::filesystem::path& folder);

  /// All tokens of a text, without start, end and padding.
  /// \throws bad_option for text that is not UTF-8
  std::vector<std::int64_t> encode(std::string_view text) const;

  /// For each text the start token, as many of its tokens as fit, the end token, and padding.
  /// \return [N, length()], int64, on the CPU
  /// \throws bad_option for text that is not UTF-8
  at::Tensor operator()(const std::vector<std::string>& texts) const;

  std::int64_t start() const; ///< id of the token before the text
  std::int64_t end() const;   ///< id of the token after the text
  std::int64_t pad() const;   ///< id of the tokens after the end
  /// How long sequences are: the configuration's model_max_length, CLIP's 77 where it has none.
  std::int64_t length() const;

private:
  struct tables;
  std::shared_ptr<const tables> tables_;
};

} // namespace pushforward::libtorch::models
