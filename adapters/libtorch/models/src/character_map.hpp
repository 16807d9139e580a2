#pragma once
/// \file
/// How SentencePiece's models normalise text.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pushforward::libtorch::models {

/// The "precompiled" map of strings to strings of a SentencePiece model. It is a double-array trie of UTF-8
/// bytes, whose leaves say where in a text, between zeros, the strings lie that are written instead.
///
/// A unit of the trie is 32 bits: 0..7 the byte that leads to it, 8 whether a string ends here, and 10..30
/// the way to the units below, times 256 where bit 9 is set. A leaf is a unit with bit 31 set and the place
/// in 0..30.
///
/// \see S. Yata, darts-clone, https://github.com/s-yata/darts-clone
class character_map {
public:
  character_map() = default; ///< changes nothing
  /// \param precompiled the trie's size in bytes (32 bits, the least byte first), the trie, the text; or
  /// empty \throws bad_file that names the file, for a map that is damaged
  character_map(std::string_view precompiled, const std::string& file);

  /// Changes text as the library `tokenizers` does, which is not as SentencePiece does. Of what a reader
  /// takes for one character (a grapheme cluster, by ICU) up to 5 bytes long the shortest beginning that is
  /// in the map counts, and the rest is lost; else each code point is changed by itself.
  std::u16string operator()(std::u16string_view text) const;

private:
  /// 0 outside, which no byte leads to.
  std::uint32_t unit(std::size_t i) const { return i < units_.size() ? units_[i] : 0; }
  /// The text whose place a leaf has; none where it has no place in the text.
  std::optional<std::string_view> text_at(std::uint32_t leaf) const;
  /// What is written for the shortest beginning that is in the map; none where none is.
  std::optional<std::string_view> find(std::string_view text) const;

  std::vector<std::uint32_t> units_;
  std::string texts_; ///< UTF-8, each ends with a zero
};

} // namespace pushforward::libtorch::models
