#include "tokenizer_files.hpp"

#include <pushforward/error.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <unicode/ustring.h>
#include <unicode/utf16.h>

namespace pushforward::libtorch::models {

namespace {

using json = nlohmann::json;

constexpr std::size_t longest_text = std::size_t{1} << 28; // bytes; ICU counts in 32 bits
constexpr std::int64_t ids_end = std::int64_t{1} << 31;

token_entry entry_of(const json& value, bool special, const std::string& file, const std::string& key) {
  if (value.is_string()) return {value.get<std::string>()};
  const auto flag = [&](const char* name, bool otherwise) {
    if (!value.contains(name)) return otherwise;
    if (!value[name].is_boolean()) damaged(file, key + "." + name + " is neither true nor false");
    return value[name].get<bool>();
  };
  if (!value.is_object() || !value.contains("content") || !value["content"].is_string())
    damaged(file, key + " is neither a token nor an object with the token in \"content\"");
  special = flag("special", special);
  return {value["content"].get<std::string>(), flag("normalized", !special), flag("single_word", false)};
}

void read_named(token_entries& entries, const json& object, bool special, const std::string& file) {
  for (auto& [name, entry] : entries.named)
    if (object.contains(name) && !object[name].is_null()) entry = entry_of(object[name], special, file, name);
  for (const auto* name : {"additional_special_tokens", "extra_special_tokens"}) {
    if (!object.contains(name) || !object[name].is_array()) continue;
    for (const json& value : object[name]) entries.extra.push_back(entry_of(value, true, file, name));
  }
}

} // namespace

std::u16string utf16_of(std::string_view text, const char* who) {
  if (text.size() > longest_text) throw bad_option(std::string(who) + ": a text is longer than 256 MiB");
  std::u16string wide(text.size(), u'\0'); // UTF-16 has no more units than UTF-8
  UErrorCode status = U_ZERO_ERROR;
  std::int32_t n = 0;
  u_strFromUTF8(wide.data(), static_cast<std::int32_t>(wide.size()), &n, text.data(),
                static_cast<std::int32_t>(text.size()), &status);
  if (U_FAILURE(status)) throw bad_option(std::string(who) + ": the text is not UTF-8");
  wide.resize(static_cast<std::size_t>(n));
  return wide;
}

std::string utf8_of(std::u16string_view text) {
  std::string bytes(3 * text.size(), '\0');
  UErrorCode status = U_ZERO_ERROR;
  std::int32_t n = 0;
  u_strToUTF8(bytes.data(), static_cast<std::int32_t>(bytes.size()), &n, text.data(),
              static_cast<std::int32_t>(text.size()), &status);
  bytes.resize(static_cast<std::size_t>(n));
  return bytes;
}

bool is_utf8(std::string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  std::int32_t n = 0; // how much UTF-16 there would be
  if (text.size() <= longest_text)
    u_strFromUTF8(nullptr, 0, &n, text.data(), static_cast<std::int32_t>(text.size()), &status);
  return text.size() <= longest_text && (U_SUCCESS(status) || status == U_BUFFER_OVERFLOW_ERROR);
}

bool of_word(UChar32 c) {
  return u_hasBinaryProperty(c, UCHAR_ALPHABETIC) ||
         (U_GET_GC_MASK(c) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK));
}

void refuse(const std::string& file, const std::string& what) { throw bad_file(file + ": " + what); }

void damaged(const std::string& file, const std::string& what) {
  refuse(file, what + "; where the file was cut short or damaged, copy it again");
}

std::string read_text(const std::filesystem::path& path) {
  return safetensors::regular_file(path).read(longest_text);
}

json read_object(const std::filesystem::path& path) {
  json object = json::parse(read_text(path), nullptr, false);
  if (!object.is_object()) damaged(path.string(), "is not a JSON object");
  return object;
}

json read_object_if_there(const std::filesystem::path& path) {
  return safetensors::is_there(path) ? read_object(path) : json::object();
}

std::int32_t id_of(const json& value, const std::string& file, const std::string& token) {
  const bool fits =
      value.is_number_integer() && value.get<std::int64_t>() >= 0 && value.get<std::int64_t>() < ids_end;
  if (!fits) damaged(file, "the id of token \"" + token + "\" is not a whole number from 0 to 2^31 - 1");
  return value.get<std::int32_t>();
}

std::int64_t length_of(const json& config, const std::string& file, std::int64_t otherwise) {
  if (!config.contains("model_max_length") || config["model_max_length"].is_null()) return otherwise;
  const json& value = config["model_max_length"];
  const double length = value.is_number() ? value.get<double>() : 0;
  if (!(length >= 2)) damaged(file, "model_max_length is not a number from 2 on");
  return length < 65536 ? static_cast<std::int64_t>(length) : otherwise;
}

token_entries read_entries(const std::filesystem::path& folder, const json& config, const json& tokenizer,
                           std::map<std::string, token_entry> defaults) {
  token_entries entries{std::move(defaults), {}, {}};
  const std::string config_name = (folder / "tokenizer_config.json").string();
  read_named(entries, config, false, config_name);
  if (config.contains("added_tokens_decoder")) {
    const json& decoder = config["added_tokens_decoder"];
    if (!decoder.is_object()) damaged(config_name, "added_tokens_decoder is not an object");
    for (const auto& [id, value] : decoder.items()) {
      const json number = json::parse(id, nullptr, false);
      entries.numbered[id_of(number, config_name, id)] =
          entry_of(value, false, config_name, "added_tokens_decoder." + id);
    }
    return entries;
  }
  const auto map_path = folder / "special_tokens_map.json", added_path = folder / "added_tokens.json";
  read_named(entries, read_object_if_there(map_path), true, map_path.string());
  const auto is_special = [&](const std::string& content) {
    const auto same = [&](const token_entry& e) { return e.content == content; };
    return std::any_of(entries.named.begin(), entries.named.end(),
                       [&](const auto& e) { return same(e.second); }) ||
           std::any_of(entries.extra.begin(), entries.extra.end(), same);
  };
  const json added = read_object_if_there(added_path);
  for (const auto& [content, id] : added.items())
    entries.numbered[id_of(id, added_path.string(), content)] = {content, !is_special(content)};
  if (tokenizer.contains("added_tokens")) {
    const std::string name = (folder / "tokenizer.json").string();
    if (!tokenizer["added_tokens"].is_array()) damaged(name, "added_tokens is not a list");
    for (const json& value : tokenizer["added_tokens"]) {
      const token_entry entry = entry_of(value, false, name, "added_tokens");
      if (!value.is_object() || !value.contains("id")) damaged(name, "added_tokens has an entry without id");
      entries.numbered[id_of(value["id"], name, entry.content)] = entry;
    }
  }
  return entries;
}

void added_tokens::add(const added_token& token) {
  if (token.content.empty()) return;
  auto& same_start = by_first_[token.content.front()];
  same_start.insert(std::find_if(same_start.begin(), same_start.end(),
                                 [&](const auto& t) { return t.content.size() <= token.content.size(); }),
                    token);
}

const added_token* added_tokens::starting(std::u16string_view text) const {
  const auto same_start = by_first_.find(text.front());
  if (same_start == by_first_.end()) return nullptr;
  for (const auto& token : same_start->second)
    if (text.starts_with(token.content)) return &token;
  return nullptr;
}

bool added_tokens::stands_alone(std::u16string_view text, std::size_t begin, std::size_t end) {
  if (end < text.size() && of_word(next(text, end))) return false;
  if (begin == 0) return true;
  std::size_t before = begin - (U16_IS_TRAIL(text[begin - 1]) ? 2 : 1);
  return !of_word(next(text, before));
}

} // namespace pushforward::libtorch::models
