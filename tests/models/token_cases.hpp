#pragma once
// Tokens that an oracle script recorded, for the tokenizers' tests.

#include <support/catch.hpp>

#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/ATen.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace testing_support {

/// Rows of different lengths, kept end to end.
template <class Row>
std::vector<Row> rows(const pushforward::safetensors::file& file, const std::string& name,
                      const std::string& ends_name) {
  const at::Tensor all = pushforward::libtorch::read_tensor(file, name),
                   ends = pushforward::libtorch::read_tensor(file, ends_name);
  std::vector<Row> result;
  const auto* const data =
      all.const_data_ptr<std::conditional_t<std::is_same_v<Row, std::string>, std::uint8_t, std::int64_t>>();
  std::int64_t from = 0;
  for (std::int64_t i = 0; i < ends.numel(); ++i) {
    const auto end = ends.const_data_ptr<std::int64_t>()[i];
    result.emplace_back(data + from, data + end);
    from = end;
  }
  return result;
}

inline std::string utf8(std::uint32_t c) {
  const auto tail = [&](unsigned shift) { return static_cast<char>(0x80U | (c >> shift & 0x3fU)); };
  if (c < 0x80U) return {static_cast<char>(c)};
  if (c < 0x800U) return {static_cast<char>(0xc0U | c >> 6U), tail(0)};
  if (c < 0x10000U) return {static_cast<char>(0xe0U | c >> 12U), tail(6), tail(0)};
  return {static_cast<char>(0xf0U | c >> 18U), tail(12), tail(6), tail(0)};
}

/// As the oracle scripts tell rows of ids apart: FNV-1a of whole ids.
inline std::uint64_t hashed(const std::vector<std::int64_t>& tokens) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const auto token : tokens) hash = (hash ^ static_cast<std::uint64_t>(token)) * 0x100000001b3U;
  return hash;
}

/// The first of the recorded texts.
inline std::vector<std::string> first_texts(const pushforward::safetensors::file& expected,
                                            std::int64_t count) {
  auto texts = rows<std::string>(expected, "text", "text_ends");
  texts.resize(static_cast<std::size_t>(count));
  return texts;
}

/// encode() gives the recorded tokens of each text, of which there are more than `at_least`.
template <class Tokenizer>
void check_tokens(const Tokenizer& tokenize, const pushforward::safetensors::file& expected,
                  std::size_t at_least) {
  const auto texts = rows<std::string>(expected, "text", "text_ends");
  const auto tokens = rows<std::vector<std::int64_t>>(expected, "tokens", "token_ends");
  REQUIRE(texts.size() > at_least);
  REQUIRE(tokens.size() == texts.size());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < texts.size(); ++i)
    if (tokenize.encode(texts[i]) != tokens[i] && ++wrong < 10) {
      UNSCOPED_INFO("text " << i << ": " << texts[i].substr(0, 500));
      UNSCOPED_INFO("  got    " << at::tensor(tokenize.encode(texts[i]), at::kLong));
      UNSCOPED_INFO("  wanted " << at::tensor(tokens[i], at::kLong));
    }
  CHECK(wrong == 0);
}

/// The same of every character of Unicode 14, of whose tokens hashes are recorded.
template <class Tokenizer>
void check_characters(const Tokenizer& tokenize, const pushforward::safetensors::file& expected) {
  const at::Tensor ranges = pushforward::libtorch::read_tensor(expected, "ranges"),
                   hashes = pushforward::libtorch::read_tensor(expected, "hashes");
  std::vector<std::string> characters;
  for (std::int64_t i = 0; i < ranges.size(0); ++i)
    for (auto c = ranges[i][0].item<std::int64_t>(); c <= ranges[i][1].item<std::int64_t>(); ++c)
      characters.push_back(utf8(static_cast<std::uint32_t>(c)));
  REQUIRE(characters.size() > 150'000);
  REQUIRE(hashes.size(0) == static_cast<std::int64_t>((characters.size() + 63) / 64));
  // between letters, alone, and after a letter; 64 a string
  std::size_t wrong = 0;
  for (std::size_t row = 0; 64 * row < characters.size(); ++row) {
    std::string text;
    for (std::size_t i = 64 * row; i < std::min(64 * (row + 1), characters.size()); ++i)
      text += "a" + characters[i] + "b " + characters[i] + " A" + characters[i] + " ";
    const auto tokens = tokenize.encode(text);
    if (hashed(tokens) !=
            static_cast<std::uint64_t>(hashes[static_cast<std::int64_t>(row)].item<std::int64_t>()) &&
        ++wrong < 10)
      UNSCOPED_INFO("row " << row << ", " << text << "\n  got " << at::tensor(tokens, at::kLong));
  }
  CHECK(wrong == 0);
}

} // namespace testing_support
