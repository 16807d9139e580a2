#pragma once
/// \file
/// Unigram language models of pieces of words: their files, and the best way to cut a word into pieces.

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pushforward::libtorch::models {

constexpr std::int64_t unknown_piece = 2; ///< its id, in every T5

/// What a file has.
struct unigram_file {
  std::string name;                                   ///< of the file, for messages
  std::vector<std::pair<std::string, double>> pieces; ///< with their scores; the index is the id
  std::vector<std::string> special;                   ///< pieces that are looked for in text before it is cut
  std::string character_map;                          ///< see there
};

/// A SentencePiece model: a message of sentencepiece_model.proto in protobuf's wire format.
///
/// It is read here, and not by SentencePiece's library: that follows a damaged map out of its memory, and its
/// best paths, in float32, are not always transformers'. \throws bad_file for a file that cannot be read, is
/// not such a message, or is of another kind of model
unigram_file read_sentencepiece(const std::filesystem::path& path);

/// A tokenizer.json of the library `tokenizers`. \throws bad_file as above
unigram_file unigram_of(const nlohmann::json& tokenizer, const std::string& name);

/// Cuts words into pieces. Neighbouring characters that no piece covers are one unknown piece.
class unigram {
public:
  unigram() = default;
  /// \throws bad_file that names the file, for pieces that are empty, not UTF-8, or there twice, and for
  /// scores that are not finite
  explicit unigram(const unigram_file& file);

  std::optional<std::int64_t> id_of(std::string_view piece) const;

  /// Appends the ids of the pieces whose scores have the greatest sum, in float64; of several the one whose
  /// last piece is the longest, and so on before it. An unknown character counts as the least score less 10.
  /// \param word UTF-8
  void encode(std::string_view word, std::vector<std::int64_t>& ids) const;

private:
  struct entry {
    std::string piece;
    std::int64_t id;
    double score;
  };
  std::vector<entry> sorted_; // by their bytes
  double unknown_score_ = 0;
};

} // namespace pushforward::libtorch::models
