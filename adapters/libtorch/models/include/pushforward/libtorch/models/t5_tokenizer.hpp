#pragma once
/// \file
/// T5's unigram tokenizer: text to the ids that T5's encoder reads.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pushforward::libtorch::models {

/// Gives the ids that `T5Tokenizer` of transformers 5 (the same as `T5TokenizerFast`) gives, from the same
/// folder. Cheap to copy.
///
/// Special and added tokens are found in the text first, `<extra_id_0>` and so on among them. The rest is
/// brought to the normal form of the file's character map (NFKC and SentencePiece's changes to it) and split
/// at white space into words, each with the mark of a word's beginning, U+2581, in front. A word becomes the
/// pieces of the vocabulary whose scores, logarithms of probabilities, have the greatest sum; what no piece
/// covers becomes the unknown token, once for neighbouring characters. SentencePiece's own library gives
/// other ids for some texts: where letters and accents are composed, and where sums are equal or nearly so,
/// as in a run of exclamation marks.
///
/// \see T. Kudo, "Subword regularization" (2018)
class t5_tokenizer {
public:
  /// \param folder holds tokenizer.json or else spiece.model; the names of the special tokens, the tokens
  /// that were
  ///        added, the number of extra ids, and the length are taken from tokenizer_config.json,
  ///        special_tokens_map.json and added_tokens.json where these are there, else they are T5's
  /// \throws bad_file for a file that is missing, malformed, of another kind of model, or contradicts the
  /// vocabulary
  explicit t5_tokenizer(const std::filesystem::path& folder);

  /// All tokens of a text, without end and padding.
  /// \throws bad_option for text that is not UTF-8
  std::vector<std::int64_t> encode(std::string_view text) const;

  /// For each text as many of its tokens as fit, the end token, and padding.
  /// \return [N, length], int64, on the CPU
  /// \throws bad_option for text that is not UTF-8, and for a length below 1
  at::Tensor operator()(const std::vector<std::string>& texts, std::int64_t length) const;
  /// The same with `length()`.
  at::Tensor operator()(const std::vector<std::string>& texts) const { return (*this)(texts, length()); }

  std::int64_t end() const; ///< id of the token after the text
  std::int64_t pad() const; ///< id of the tokens after the end
  /// How long sequences are: the configuration's model_max_length, T5's 512 where it has none.
  std::int64_t length() const;

private:
  struct tables;
  std::shared_ptr<const tables> tables_;
};

} // namespace pushforward::libtorch::models
