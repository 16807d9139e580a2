#include "character_map.hpp"

#include "tokenizer_files.hpp"

#include <pushforward/error.hpp>

#include <unicode/ubrk.h>
#include <unicode/utypes.h>

#include <memory>

namespace pushforward::libtorch::models {

namespace {

constexpr std::size_t largest_trie = 1 << 24; // bytes; T5's has 179,200
constexpr std::size_t longest_cluster = 5;    // bytes of a character that is looked for as a whole

std::uint32_t word_of(std::string_view bytes) {
  std::uint32_t word = 0;
  for (std::size_t i = 0; i < 4; ++i)
    word |= std::uint32_t{static_cast<unsigned char>(bytes[i])} << (8 * static_cast<unsigned>(i));
  return word;
}

/// The unit is reached by this byte; never for a leaf.
bool leads(std::uint32_t unit, unsigned char byte) { return (unit & 0x800000ffU) == byte; }
bool ends_a_string(std::uint32_t unit) { return (unit >> 8U & 1U) != 0; }
std::size_t way(std::uint32_t unit) { return std::size_t{unit >> 10U} << ((unit & 0x200U) != 0 ? 8U : 0U); }

} // namespace

character_map::character_map(std::string_view precompiled, const std::string& file) {
  if (precompiled.empty()) return;
  const auto require = [&](bool good) {
    if (!good) damaged(file, "its map of characters is damaged");
  };
  require(precompiled.size() >= 4);
  const std::size_t size = word_of(precompiled);
  precompiled.remove_prefix(4);
  require(size >= 4 && size % 4 == 0 && size <= precompiled.size() && size <= largest_trie);
  for (std::size_t i = 0; i < size; i += 4) units_.push_back(word_of(precompiled.substr(i, 4)));
  texts_ = precompiled.substr(size);
  std::vector<std::size_t> places{way(unit(0))}; // from which a byte leads on
  std::vector<bool> seen(units_.size());         // branches may share their ends
  while (!places.empty()) {
    const std::size_t at = places.back();
    places.pop_back();
    for (unsigned byte = 1; byte < 256; ++byte) {
      const std::size_t i = at ^ byte;
      if (!leads(unit(i), static_cast<unsigned char>(byte)) || seen[i]) continue;
      seen[i] = true;
      places.push_back(i ^ way(unit(i)));
      if (!ends_a_string(unit(i))) continue;
      const auto text = text_at(unit(places.back()));
      require(text && is_utf8(*text));
    }
  }
}

std::optional<std::string_view> character_map::text_at(std::uint32_t leaf) const {
  const std::size_t from = leaf & 0x7fffffffU, end = texts_.find('\0', from);
  if (from >= texts_.size() || end == texts_.npos) return {};
  return std::string_view(texts_).substr(from, end - from);
}

std::optional<std::string_view> character_map::find(std::string_view text) const {
  std::size_t at = way(unit(0));
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    at ^= byte;
    if (byte == 0 || !leads(unit(at), byte)) return {};
    const bool ends = ends_a_string(unit(at));
    at ^= way(unit(at));
    if (ends) return text_at(unit(at));
  }
  return {};
}

std::u16string character_map::operator()(std::u16string_view text) const {
  if (units_.empty()) return std::u16string(text);
  UErrorCode status = U_ZERO_ERROR;
  const std::unique_ptr<UBreakIterator, decltype(&ubrk_close)> clusters(
      ubrk_open(UBRK_CHARACTER, "", text.data(), static_cast<std::int32_t>(text.size()), &status),
      &ubrk_close);
  if (U_FAILURE(status)) throw error(std::string("t5_tokenizer: ICU lacks its data: ") + u_errorName(status));
  std::u16string result;
  for (std::size_t from = 0; from < text.size();) {
    const auto end = static_cast<std::size_t>(ubrk_next(clusters.get()));
    const std::u16string_view cluster = text.substr(from, end - from);
    from = end;
    const std::string whole = utf8_of(cluster);
    if (whole.size() <= longest_cluster)
      if (const auto written = find(whole)) {
        result += utf16_of(*written, "t5_tokenizer");
        continue;
      }
    for (std::size_t i = 0, begin = 0; i < cluster.size(); begin = i) {
      next(cluster, i);
      const std::u16string_view character = cluster.substr(begin, i - begin);
      const auto written = find(utf8_of(character));
      result += written ? utf16_of(*written, "t5_tokenizer") : std::u16string(character);
    }
  }
  return result;
}

} // namespace pushforward::libtorch::models
