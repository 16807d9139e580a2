#include <pushforward/libtorch/models/t5_tokenizer.hpp>

#include "character_map.hpp"
#include "tokenizer_files.hpp"
#include "unigram.hpp"

#include <pushforward/error.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>
#include <unicode/uchar.h>

#include <algorithm>
#include <map>
#include <utility>

namespace pushforward::libtorch::models {

namespace {

using json = nlohmann::json;

constexpr std::int64_t most_extra_ids = 1 << 16;
constexpr char16_t mark = 0x2581; // of a word's beginning

std::string extra_id(std::int64_t i) { return "<extra_id_" + std::to_string(i) + ">"; }

std::int64_t extra_ids_of(const json& config, const std::string& file) {
  if (!config.contains("extra_ids") || config["extra_ids"].is_null()) return 100;
  const double count = config["extra_ids"].is_number() ? config["extra_ids"].get<double>() : -1;
  if (!(count >= 0 && count <= most_extra_ids &&
        count == static_cast<double>(static_cast<std::int64_t>(count))))
    damaged(file, "extra_ids is not a whole number from 0 to " + std::to_string(most_extra_ids));
  return static_cast<std::int64_t>(count);
}

} // namespace

struct t5_tokenizer::tables {
  unigram model;
  character_map map;
  added_tokens raw, normal; ///< those found before text is normalised, and after
  std::int64_t end = 0, pad = 0, length = 512;

  void set_added(const token_entries& entries, const std::vector<std::string>& special,
                 const std::string& folder) {
    std::map<std::string, std::int64_t> numbers; // of the numbered
    for (const auto& [id, entry] : entries.numbered) {
      if (const auto known = model.id_of(entry.content); known && *known != id)
        damaged(folder, "the added token \"" + entry.content + "\" has the id " + std::to_string(id) +
                            ", but the vocabulary has it as " + std::to_string(*known));
      numbers[entry.content] = id;
    }
    const auto id_of_token = [&](const std::string& content) {
      if (const auto known = model.id_of(content)) return *known;
      if (const auto found = numbers.find(content); found != numbers.end()) return found->second;
      refuse(folder, "the special token \"" + content + "\" is not in the vocabulary");
    };
    std::map<std::string, token_entry> all; // by content: the numbered, else the last that was named
    for (const auto& content : special) all[content] = {content};
    for (const auto& [name, entry] : entries.named) all[entry.content] = entry;
    for (const auto& entry : entries.extra) all.emplace(entry.content, entry);
    for (const auto& [id, entry] : entries.numbered) all[entry.content] = entry;
    for (const auto& [content, entry] : all) {
      const std::u16string wide = utf16_of(content, "t5_tokenizer");
      (entry.normalized ? normal : raw)
          .add({entry.normalized ? map(wide) : wide, id_of_token(content), entry.single_word});
    }
    end = id_of_token(entries.named.at("eos_token").content);
    pad = id_of_token(entries.named.at("pad_token").content);
  }

  /// Appends the ids of normalised text.
  void encode_words(std::u16string_view text, std::vector<std::int64_t>& ids) const {
    std::u16string word;
    const auto finish = [&] {
      if (!word.empty()) model.encode(utf8_of(word), ids);
      word.clear();
    };
    for (std::size_t i = 0, from = 0; i < text.size(); from = i) {
      const UChar32 c = next(text, i);
      if (u_isUWhiteSpace(c)) {
        finish();
        continue;
      }
      if (c == mark) finish(); // one in the text begins a word, too
      if (word.empty() && c != mark) word = mark;
      word += text.substr(from, i - from);
    }
    finish();
  }
};

t5_tokenizer::t5_tokenizer(const std::filesystem::path& folder) {
  std::error_code none;
  if (!safetensors::is_there(folder) || !std::filesystem::is_directory(folder, none))
    refuse(folder.string(),
           "is not a folder; T5's tokenizer is a folder with spiece.model or tokenizer.json");
  const auto config_path = folder / "tokenizer_config.json", single_path = folder / "tokenizer.json";
  const json config = read_object_if_there(config_path), single = read_object_if_there(single_path);
  const std::int64_t extra_ids = extra_ids_of(config, config_path.string());
  unigram_file file;
  if (single.empty()) {
    file = read_sentencepiece(folder / "spiece.model");
    for (std::int64_t i = extra_ids; i-- > 0;) file.pieces.emplace_back(extra_id(i), 0.0);
  } else {
    file = unigram_of(single, single_path.string());
  }
  auto fresh = std::make_shared<tables>();
  fresh->model = unigram(file);
  fresh->map = character_map(file.character_map, file.name);
  for (std::int64_t i = 0; i < extra_ids; ++i)
    if (fresh->model.id_of(extra_id(i))) file.special.push_back(extra_id(i));
  fresh->set_added(
      read_entries(folder, config, single,
                   {{"eos_token", {"</s>"}}, {"pad_token", {"<pad>"}}, {"unk_token", {"<unk>"}}}),
      file.special, folder.string());
  fresh->length = length_of(config, config_path.string(), fresh->length);
  tables_ = std::move(fresh);
}

std::vector<std::int64_t> t5_tokenizer::encode(std::string_view text) const {
  std::vector<std::int64_t> ids;
  const auto found = [&](std::int64_t id) { ids.push_back(id); };
  const auto words = [&](std::u16string_view part) { tables_->encode_words(part, ids); };
  tables_->raw.split(
      utf16_of(text, "t5_tokenizer"),
      [&](std::u16string_view part) { tables_->normal.split(tables_->map(part), words, found); }, found);
  return ids;
}

at::Tensor t5_tokenizer::operator()(const std::vector<std::string>& texts, std::int64_t length) const {
  if (length < 1) throw bad_option("t5_tokenizer: length must be at least 1");
  const at::Tensor ids = at::full({static_cast<std::int64_t>(texts.size()), length}, pad(), at::kLong);
  std::int64_t* row = ids.mutable_data_ptr<std::int64_t>();
  for (const auto& text : texts) {
    const auto all = encode(text);
    const auto kept = std::min(all.size(), static_cast<std::size_t>(length - 1));
    std::copy_n(all.begin(), kept, row);
    row[kept] = end();
    row += length;
  }
  return ids;
}

std::int64_t t5_tokenizer::end() const { return tables_->end; }
std::int64_t t5_tokenizer::pad() const { return tables_->pad; }
std::int64_t t5_tokenizer::length() const { return tables_->length; }

} // namespace pushforward::libtorch::models
