#pragma once
/// \file
/// What the tokenizers share: text in UTF-16, the files of a tokenizer's folder, and tokens that are looked
/// for in text before it is split into words.

#include <nlohmann/json.hpp>
#include <unicode/uchar.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace pushforward::libtorch::models {

// --- Text

/// \throws bad_option that begins with `who`, for text that is not UTF-8 or longer than 256 MiB
std::u16string utf16_of(std::string_view text, const char* who);
std::string utf8_of(std::u16string_view text);
bool is_utf8(std::string_view text);

/// The code point of valid UTF-16 at `i`, which moves on to the next.
inline UChar32 next(std::u16string_view text, std::size_t& i) {
  const char16_t first = text[i++];
  return U16_IS_LEAD(first) ? U16_GET_SUPPLEMENTARY(first, text[i++]) : UChar32{first};
}

/// What a regular expression takes for a character of a word: letters, digits and what joins them.
bool of_word(UChar32 c);

// --- Files

/// bad_file: "<file>: <what>".
[[noreturn]] void refuse(const std::string& file, const std::string& what);

/// Of what no tokenizer's file has.
[[noreturn]] void damaged(const std::string& file, const std::string& what);

/// \throws bad_file for a file that cannot be read or is longer than 256 MiB
std::string read_text(const std::filesystem::path& path);

/// \throws bad_file for a file that cannot be read or holds no JSON object
nlohmann::json read_object(const std::filesystem::path& path);

/// An empty object where there is no such file.
nlohmann::json read_object_if_there(const std::filesystem::path& path);

/// \throws bad_file unless the value is a whole number from 0 to 2^31 - 1
std::int32_t id_of(const nlohmann::json& value, const std::string& file, const std::string& token);

/// The configuration's model_max_length; `otherwise` where it has none, or one from 65536 on, as transformers
/// writes 1e30 for "not known". \throws bad_file unless it is a number from 2 on
std::int64_t length_of(const nlohmann::json& config, const std::string& file, std::int64_t otherwise);

// --- Special and added tokens

/// An entry of the files about special and added tokens.
struct token_entry {
  std::string content;
  bool normalized = false;  ///< to be found in normalised text
  bool single_word = false; ///< only between characters that are not of a word
};

/// Special tokens under their names, and tokens that were added to the vocabulary under their ids.
struct token_entries {
  std::map<std::string, token_entry> named;
  std::map<std::int64_t, token_entry> numbered;
  std::vector<token_entry> extra;
};

/// \param defaults the special tokens that there are, under their names
/// \param config tokenizer_config.json of the folder
/// \param tokenizer tokenizer.json of the folder, or an empty object
/// \throws bad_file for an entry that is malformed
token_entries read_entries(const std::filesystem::path& folder, const nlohmann::json& config,
                           const nlohmann::json& tokenizer, std::map<std::string, token_entry> defaults);

struct added_token {
  std::u16string content;
  std::int64_t id = 0;
  bool single_word = false;
};

/// Tokens to be found in text before it is split into words.
class added_tokens {
public:
  void add(const added_token& token);

  /// Calls found(id) for each token, the longest of those that start first, and between(part) for what is
  /// left.
  template <class Between, class Found>
  void split(std::u16string_view text, Between&& between, Found&& found) const {
    std::size_t from = 0;
    for (std::size_t i = 0; i < text.size();) {
      const added_token* const token = starting(text.substr(i));
      const std::size_t end = i + (token ? token->content.size() : 1);
      if (token && (!token->single_word || stands_alone(text, i, end))) {
        between(text.substr(from, i - from));
        found(token->id);
        from = end;
      }
      i = end;
    }
    between(text.substr(from));
  }

private:
  const added_token* starting(std::u16string_view text) const;
  static bool stands_alone(std::u16string_view text, std::size_t begin, std::size_t end);

  std::unordered_map<char16_t, std::vector<added_token>> by_first_; // longest first
};

} // namespace pushforward::libtorch::models
