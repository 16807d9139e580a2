#include <pushforward/libtorch/models/clip_tokenizer.hpp>

#include "tokenizer_files.hpp"

#include <pushforward/error.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/uset.h>
#include <unicode/ustring.h>

#include <algorithm>
#include <array>
#include <map>
#include <queue>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace pushforward::libtorch::models {

namespace {

using json = nlohmann::json;

// --- Unicode

/// NFC of Unicode 9, by which the library `tokenizers` normalises: later characters stay as and where they
/// are.
const UNormalizer2* nfc_of_unicode_9() {
  static const UNormalizer2* const normalizer = [] {
    UErrorCode status = U_ZERO_ERROR;
    USet* const characters = uset_openPattern(u"[:age=9.0:]", -1, &status);
    if (U_SUCCESS(status)) uset_freeze(characters);
    const UNormalizer2* const all = unorm2_getNFCInstance(&status);
    const UNormalizer2* const filtered = unorm2_openFiltered(all, characters, &status); // keeps the set
    if (U_FAILURE(status))
      throw error(std::string("clip_tokenizer: ICU lacks its data: ") + u_errorName(status));
    return filtered;
  }();
  return normalizer;
}

std::u16string nfc(std::u16string_view text) {
  const UNormalizer2* const normalizer = nfc_of_unicode_9();
  UErrorCode status = U_ZERO_ERROR;
  const auto length = static_cast<std::int32_t>(text.size());
  std::u16string normal(text.size(), u'\0');
  const auto fill = [&] {
    return unorm2_normalize(normalizer, text.data(), length, normal.data(),
                            static_cast<std::int32_t>(normal.size()), &status);
  };
  std::int32_t n = fill();
  if (status == U_BUFFER_OVERFLOW_ERROR) {
    status = U_ZERO_ERROR;
    normal.resize(static_cast<std::size_t>(n));
    n = fill();
  }
  if (U_FAILURE(status))
    throw bad_option(std::string("clip_tokenizer: a text cannot be normalised: ") + u_errorName(status));
  normal.resize(static_cast<std::size_t>(n));
  return normal;
}

/// NFC, each run of white space as one space, lower case. The lower case of a character does not depend on
/// its neighbours (no final sigma), and that of U+0130 is two characters.
std::u16string normalized(std::u16string_view text) {
  const std::u16string composed = nfc(text);
  std::u16string result;
  result.reserve(composed.size());
  const auto append = [&](UChar32 c) {
    if (U_IS_SUPPLEMENTARY(c)) result += U16_LEAD(c);
    result += U_IS_SUPPLEMENTARY(c) ? U16_TRAIL(c) : static_cast<char16_t>(c);
  };
  bool in_space = false;
  for (std::size_t i = 0; i < composed.size();) {
    const UChar32 c = next(composed, i);
    const bool space = u_isUWhiteSpace(c);
    if (space && !in_space) append(u' ');
    if (!space) append(c == 0x130 ? u'i' : u_tolower(c));
    if (c == 0x130) append(0x307);
    in_space = space;
  }
  return result;
}

enum class kind { space, letter, digit, other };

kind kind_of(UChar32 c) {
  if (u_isUWhiteSpace(c)) return kind::space;
  const std::uint32_t category = U_GET_GC_MASK(c);
  if (category & U_GC_L_MASK) return kind::letter;
  return category & U_GC_N_MASK ? kind::digit : kind::other;
}

/// Calls word(part) for the parts of normalised text that the merges stay within.
template <class Word> void for_each_word(std::u16string_view text, Word&& word) {
  constexpr std::u16string_view contractions[] = {u"'s", u"'t", u"'re", u"'ve", u"'m", u"'ll", u"'d"};
  constexpr std::u16string_view literals[] = {u"<|startoftext|>", u"<|endoftext|>"};
  const auto find = [&](const auto& candidates, std::size_t i) {
    std::size_t length = 0;
    for (const auto& candidate : candidates)
      if (text.substr(i, candidate.size()) == candidate) length = candidate.size();
    return length;
  };
  for (std::size_t i = 0; i < text.size();) {
    if (const std::size_t n = find(contractions, i)) {
      word(text.substr(i, n));
      i += n;
    } else if (const std::size_t m = find(literals, i)) { // in two steps: one word, then byte level's three
      word(text.substr(i, 2));
      word(text.substr(i + 2, m - 4));
      word(text.substr(i + m - 2, 2));
      i += m;
    } else {
      const std::size_t from = i;
      const kind first = kind_of(next(text, i));
      for (std::size_t after = i; first != kind::digit && i < text.size(); i = after)
        if (kind_of(next(text, after)) != first) break;
      if (first != kind::space) word(text.substr(from, i - from));
    }
  }
}

// --- Files

using vocabulary = std::unordered_map<std::string, std::int32_t>;
using merge_list = std::vector<std::pair<std::string, std::string>>;

vocabulary vocabulary_of(const json& object, const std::string& file) {
  vocabulary ids;
  std::unordered_map<std::int32_t, std::string> tokens;
  for (const auto& [token, id] : object.items()) {
    const auto number = ids.emplace(token, id_of(id, file, token)).first->second;
    if (const auto [other, fresh] = tokens.emplace(number, token); !fresh)
      damaged(file, "tokens \"" + other->second + "\" and \"" + token + "\" have the same id, " +
                        std::to_string(number));
  }
  return ids;
}

/// "a b" as a pair.
std::pair<std::string, std::string> pair_of(std::string_view line, const std::string& file,
                                            std::size_t number) {
  const std::size_t space = line.find(' ');
  if (space == 0 || space == line.npos || space + 1 == line.size() || line.find(' ', space + 1) != line.npos)
    damaged(file, "merge " + std::to_string(number) + " is not two tokens with a space between them");
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

merge_list merges_of_lines(std::string_view text, const std::string& file) {
  merge_list merges;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with("#version") || line.empty()) continue;
    merges.push_back(pair_of(line, file + ", line " + std::to_string(number), merges.size() + 1));
  }
  return merges;
}

merge_list merges_of_json(const json& list, const std::string& file) {
  merge_list merges;
  for (const json& entry : list) {
    const bool two = entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string();
    if (!two && !entry.is_string())
      damaged(file, "merge " + std::to_string(merges.size() + 1) + " is neither a string nor two of them");
    merges.push_back(two ? std::pair(entry[0].get<std::string>(), entry[1].get<std::string>())
                         : pair_of(entry.get_ref<const std::string&>(), file, merges.size() + 1));
  }
  return merges;
}

/// The 256 characters that stand for bytes in vocabularies, in UTF-8: printable Latin-1 characters for
/// themselves, U+0100... for the others.
std::array<std::string, 256> byte_symbols() {
  std::array<std::string, 256> symbols;
  char16_t other = 0x100;
  for (std::size_t b = 0; b < 256; ++b) {
    const bool printable = (b > 0x20 && b < 0x7f) || (b > 0xa0 && b != 0xad);
    const char16_t symbol = printable ? static_cast<char16_t>(b) : other++;
    symbols[b] = utf8_of({&symbol, 1});
  }
  return symbols;
}

std::map<std::string, token_entry> clip_special_tokens() {
  return {{"bos_token", {"<|startoftext|>"}},
          {"eos_token", {"<|endoftext|>"}},
          {"pad_token", {"<|endoftext|>"}},
          {"unk_token", {"<|endoftext|>"}}};
}

} // namespace

struct clip_tokenizer::tables {
  struct merge {
    std::size_t rank;
    std::int32_t id;
  };

  std::array<std::int32_t, 256> inner{}, last{}; ///< id of a byte within a word, and at its end
  std::unordered_map<std::uint64_t, merge> merges;
  added_tokens raw, normal; ///< those found before text is normalised, and after
  std::int64_t start = 0, end = 0, pad = 0, length = 0;

  static std::uint64_t key(std::int32_t left, std::int32_t right) {
    return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) | static_cast<std::uint32_t>(right);
  }

  void set_bytes(const vocabulary& ids, const std::string& file) {
    const auto symbols = byte_symbols();
    for (std::size_t b = 0; b < 256; ++b)
      for (const bool at_end : {false, true}) {
        const auto found = ids.find(at_end ? symbols[b] + "</w>" : symbols[b]);
        if (found == ids.end())
          refuse(file, "byte " + std::to_string(b) + " has no token \"" + symbols[b] +
                           (at_end ? "</w>" : "") + "\"; is it the vocabulary of a CLIP model, and whole?");
        (at_end ? last : inner)[b] = found->second;
      }
  }

  void set_merges(const merge_list& list, const vocabulary& ids, const std::string& file) {
    merges.reserve(list.size());
    for (std::size_t rank = 0; rank < list.size(); ++rank) {
      const auto id = [&](const std::string& token) {
        const auto found = ids.find(token);
        if (found == ids.end())
          damaged(file, "merge " + std::to_string(rank + 1) + " (\"" + list[rank].first + "\" and \"" +
                            list[rank].second + "\"): the vocabulary has no token \"" + token + "\"");
        return found->second;
      };
      const auto& [left, right] = list[rank];
      const std::int32_t first = id(left), second = id(right);
      merges.insert_or_assign(key(first, second), merge{rank, id(left + right)});
    }
  }

  void set_added(const token_entries& entries, const vocabulary& ids, const std::string& folder) {
    std::map<std::string, std::int64_t> numbers; // of the numbered
    for (const auto& [id, entry] : entries.numbered) numbers[entry.content] = id;
    for (const auto& [token, id] : ids)
      if (const auto added = entries.numbered.find(id);
          added != entries.numbered.end() && added->second.content != token)
        damaged(folder, "the added token \"" + added->second.content + "\" has the id of \"" + token +
                            "\", " + std::to_string(id));
    const auto id_of_token = [&](const std::string& content) -> std::int64_t {
      if (const auto found = ids.find(content); found != ids.end()) return found->second;
      if (const auto found = numbers.find(content); found != numbers.end()) return found->second;
      refuse(folder, "the special token \"" + content + "\" is not in the vocabulary");
    };
    std::map<std::string, token_entry> all; // by content: the numbered, else the last that was named
    for (const auto* name : {"bos_token", "eos_token", "unk_token", "pad_token"})
      all[entries.named.at(name).content] = entries.named.at(name);
    for (const auto& entry : entries.extra) all.emplace(entry.content, entry);
    for (const auto& [id, entry] : entries.numbered) all[entry.content] = entry;
    for (const auto& [content, entry] : all) {
      const std::u16string wide = utf16_of(content, "clip_tokenizer");
      (entry.normalized ? normal : raw)
          .add({entry.normalized ? normalized(wide) : wide, id_of_token(content), entry.single_word});
    }
    start = id_of_token(entries.named.at("bos_token").content);
    end = id_of_token(entries.named.at("eos_token").content);
    pad = id_of_token(entries.named.at("pad_token").content);
  }

  /// What the vocabulary has, bytes, merges and special or added tokens make: else merges are missing.
  void require_made(const token_entries& entries, const vocabulary& ids, const std::string& file) const {
    std::unordered_set<std::int32_t> made(inner.begin(), inner.end());
    made.insert(last.begin(), last.end());
    for (const auto& [pair, merged] : merges) made.insert(merged.id);
    const auto add = [&](const token_entry& entry) {
      if (const auto found = ids.find(entry.content); found != ids.end()) made.insert(found->second);
    };
    for (const auto& [name, entry] : entries.named) add(entry);
    for (const auto& [id, entry] : entries.numbered) add(entry);
    for (const auto& entry : entries.extra) add(entry);
    for (const auto& [token, id] : ids)
      if (!made.contains(id))
        damaged(file,
                "no merge makes token \"" + token + "\" of the vocabulary (id " + std::to_string(id) + ")");
  }

  /// Merges the pair of the lowest rank, the leftmost of them, until none is left. O(n log n) for n bytes.
  void encode_word(std::u16string_view word, std::vector<std::int64_t>& ids) const {
    struct symbol {
      std::int32_t id;
      std::size_t previous, next;
      bool gone = false;
    };
    using candidate =
        std::tuple<std::size_t, std::size_t, std::int32_t>; // rank, index of the left one, merged id
    const std::string bytes = utf8_of(word);
    const std::size_t n = bytes.size();
    std::vector<symbol> symbols(n);
    std::priority_queue<candidate, std::vector<candidate>, std::greater<>> candidates;
    const auto find = [&](std::size_t i) {
      return merges.find(key(symbols[i].id, symbols[symbols[i].next].id));
    };
    const auto consider = [&](std::size_t i) {
      if (const auto found = find(i); found != merges.end())
        candidates.emplace(found->second.rank, i, found->second.id);
    };
    for (std::size_t i = 0; i < n; ++i)
      symbols[i] = {(i + 1 == n ? last : inner)[static_cast<unsigned char>(bytes[i])], i - 1, i + 1};
    for (std::size_t i = 0; i + 1 < n; ++i) consider(i);
    while (!candidates.empty()) {
      const auto [rank, i, id] = candidates.top();
      candidates.pop();
      symbol& left = symbols[i];
      if (left.gone || left.next == n) continue;
      if (const auto now = find(i); now == merges.end() || now->second.id != id) continue; // an older pair
      symbol& right = symbols[left.next];
      right.gone = true;
      left.id = id;
      left.next = right.next;
      if (left.next < n) symbols[left.next].previous = i;
      if (i > 0) consider(left.previous);
      if (left.next < n) consider(i);
    }
    for (std::size_t i = 0; i < n; i = symbols[i].next) ids.push_back(symbols[i].id);
  }
};

clip_tokenizer::clip_tokenizer(const std::filesystem::path& folder) {
  std::error_code none;
  if (!safetensors::is_there(folder) || !std::filesystem::is_directory(folder, none))
    refuse(folder.string(), "is not a folder; a tokenizer is a folder with vocab.json and merges.txt");
  const auto config_path = folder / "tokenizer_config.json", single_path = folder / "tokenizer.json",
             vocabulary_path = folder / "vocab.json", merges_path = folder / "merges.txt";
  const json config = read_object_if_there(config_path), single = read_object_if_there(single_path);
  auto fresh = std::make_shared<tables>();
  vocabulary ids;
  if (!single.empty()) {
    const std::string name = single_path.string();
    const json none_at_all, &model = single.contains("model") ? single["model"] : none_at_all;
    const auto is = [&](const char* key, const char* wanted) {
      return !model.contains(key) || model[key].is_null() || model[key] == wanted;
    };
    if (!model.is_object() || !is("type", "BPE") || !is("end_of_word_suffix", "</w>") ||
        !is("continuing_subword_prefix", ""))
      refuse(name, "its model is not a byte-pair encoding with \"</w>\" at the end of words, as CLIP's is");
    if (!model.contains("vocab") || !model["vocab"].is_object())
      damaged(name, "model.vocab is not an object");
    if (!model.contains("merges") || !model["merges"].is_array()) damaged(name, "model.merges is not a list");
    ids = vocabulary_of(model["vocab"], name);
    fresh->set_bytes(ids, name);
    fresh->set_merges(merges_of_json(model["merges"], name), ids, name);
  } else {
    ids = vocabulary_of(read_object(vocabulary_path), vocabulary_path.string());
    fresh->set_bytes(ids, vocabulary_path.string());
    fresh->set_merges(merges_of_lines(read_text(merges_path), merges_path.string()), ids,
                      merges_path.string());
  }
  const auto entries = read_entries(folder, config, single, clip_special_tokens());
  fresh->set_added(entries, ids, folder.string());
  fresh->require_made(entries, ids, (single.empty() ? merges_path : single_path).string());
  fresh->length = length_of(config, config_path.string(), 77);
  tables_ = std::move(fresh);
}

std::vector<std::int64_t> clip_tokenizer::encode(std::string_view text) const {
  std::vector<std::int64_t> ids;
  const auto found = [&](std::int64_t id) { ids.push_back(id); };
  const auto words = [&](std::u16string_view part) {
    for_each_word(part, [&](std::u16string_view word) { tables_->encode_word(word, ids); });
  };
  tables_->raw.split(
      utf16_of(text, "clip_tokenizer"),
      [&](std::u16string_view part) { tables_->normal.split(normalized(part), words, found); }, found);
  return ids;
}

at::Tensor clip_tokenizer::operator()(const std::vector<std::string>& texts) const {
  const auto n = static_cast<std::int64_t>(texts.size());
  const at::Tensor ids = at::full({n, length()}, pad(), at::kLong);
  std::int64_t* row = ids.mutable_data_ptr<std::int64_t>();
  for (const auto& text : texts) {
    const auto all = encode(text);
    const auto kept = std::min(all.size(), static_cast<std::size_t>(length() - 2));
    row[0] = start();
    std::copy_n(all.begin(), kept, row + 1);
    row[1 + kept] = end();
    row += length();
  }
  return ids;
}

std::int64_t clip_tokenizer::start() const { return tables_->start; }
std::int64_t clip_tokenizer::end() const { return tables_->end; }
std::int64_t clip_tokenizer::pad() const { return tables_->pad; }
std::int64_t clip_tokenizer::length() const { return tables_->length; }

} // namespace pushforward::libtorch::models
