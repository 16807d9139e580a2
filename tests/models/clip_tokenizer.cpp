// The tokenizer against transformers' CLIPTokenizer, from folders as they are found.

#include "clip_small_vocabulary.hpp"

#include <support/catch.hpp>
#include <support/file_faults.hpp>
#include <support/oracle.hpp>
#include <support/scratch_folder.hpp>

#include <pushforward/error.hpp>
#include <pushforward/libtorch/models/clip_tokenizer.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using namespace pushforward;
using namespace testing_support;
using libtorch::models::clip_tokenizer;

namespace {

/// Rows of different lengths, kept end to end.
template <class Row>
std::vector<Row> rows(const safetensors::file& file, const std::string& name, const std::string& ends_name) {
  const at::Tensor all = libtorch::read_tensor(file, name), ends = libtorch::read_tensor(file, ends_name);
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

std::string utf8(std::uint32_t c) {
  const auto tail = [&](unsigned shift) { return static_cast<char>(0x80U | (c >> shift & 0x3fU)); };
  if (c < 0x80U) return {static_cast<char>(c)};
  if (c < 0x800U) return {static_cast<char>(0xc0U | c >> 6U), tail(0)};
  if (c < 0x10000U) return {static_cast<char>(0xe0U | c >> 12U), tail(6), tail(0)};
  return {static_cast<char>(0xf0U | c >> 18U), tail(12), tail(6), tail(0)};
}

/// As clip.py tells rows of ids apart: FNV-1a of whole ids.
std::uint64_t hashed(const std::vector<std::int64_t>& tokens) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const auto token : tokens) hash = (hash ^ static_cast<std::uint64_t>(token)) * 0x100000001b3U;
  return hash;
}

/// A folder with a small vocabulary that is whole.
struct small_files {
  scratch_folder folder;
  std::string vocabulary = small_clip_vocabulary(), merges = small_clip_merges();

  clip_tokenizer load() const {
    write_bytes(folder / "vocab.json", vocabulary + "}");
    write_bytes(folder / "merges.txt", merges);
    return clip_tokenizer(folder.path());
  }
};

} // namespace

TEST_CASE("the tokenizer gives the ids of transformers for text of every kind") {
  const auto folder = oracle_folder(std::filesystem::path(ORACLE_FOLDER) / "tokenizers");
  if (folder.empty()) return;
  const std::string name = GENERATE("sd1", "sd2", "bare", "learnt", "old", "saved", "single");
  CAPTURE(name);
  const clip_tokenizer tokenize(folder / name);
  const safetensors::file expected(folder / name / "expected.safetensors");
  auto texts = rows<std::string>(expected, "text", "text_ends");
  const auto tokens = rows<std::vector<std::int64_t>>(expected, "tokens", "token_ends");
  REQUIRE(texts.size() > 1000);
  REQUIRE(tokens.size() == texts.size());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < texts.size(); ++i)
    if (tokenize.encode(texts[i]) != tokens[i] && ++wrong < 10) {
      UNSCOPED_INFO("text " << i << ": " << texts[i].substr(0, 500));
      UNSCOPED_INFO("  got    " << at::tensor(tokenize.encode(texts[i]), at::kLong));
      UNSCOPED_INFO("  wanted " << at::tensor(tokens[i], at::kLong));
    }
  CHECK(wrong == 0);
  const at::Tensor padded = libtorch::read_tensor(expected, "padded"); // of the first texts
  REQUIRE(padded.size(0) > 30);
  texts.resize(static_cast<std::size_t>(padded.size(0)));
  CHECK(at::equal(tokenize(texts), padded));
}

TEST_CASE("every character of Unicode 14 is tokenized as transformers does") {
  const auto folder = oracle_folder(std::filesystem::path(ORACLE_FOLDER) / "tokenizers" / "sd1");
  if (folder.empty()) return;
  const clip_tokenizer tokenize(folder);
  const safetensors::file expected(folder / "characters.safetensors");
  const at::Tensor ranges = libtorch::read_tensor(expected, "ranges"),
                   hashes = libtorch::read_tensor(expected, "hashes");
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

TEST_CASE("text that is not UTF-8 is refused") {
  const small_files files;
  const auto tokenize = files.load();
  for (const char* text : {"\xff", "a\xc3", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80", "\x80"}) {
    CHECK_THROWS_AS(tokenize.encode(text), bad_option);
    CHECK_THROWS_AS(tokenize({"good", text}), bad_option);
  }
}

TEST_CASE("a tokenizer's folder without configuration has CLIP's tokens and length") {
  const small_files files;
  const auto tokenize = files.load();
  CHECK(tokenize.length() == 77);
  CHECK(tokenize.start() == 514);
  CHECK(tokenize.end() == 515);
  CHECK(tokenize.pad() == 515);
  CHECK(tokenize.encode("abc ABC") == std::vector<std::int64_t>{513, 513});
  CHECK(tokenize.encode("ab<|endoftext|>").back() == 515);
  CHECK(tokenize(std::vector<std::string>{}).sizes() == at::IntArrayRef{0, 77});
}

TEST_CASE("a token that was added need not be made by a merge") {
  for (const auto& [name, text] : std::vector<std::pair<std::string, std::string>>{
           {"added_tokens.json", "{\"<new>\": 516}"},
           {"special_tokens_map.json", "{\"additional_special_tokens\": [\"<new>\"]}"},
           {"tokenizer_config.json", "{\"added_tokens_decoder\": {\"516\": {\"content\": \"<new>\"}}}"}}) {
    small_files files;
    files.vocabulary += ",\"<new>\":516";
    write_bytes(files.folder / name, text);
    CHECK(files.load().encode("ab<new>").back() == 516);
  }
}

TEST_CASE("a tokenizer's file that is missing or malformed is named, with the line or the key") {
  const auto refused = [](const small_files& files, const std::string& part) {
    CAPTURE(part);
    CHECK_THROWS_AS(files.load(), bad_file);
    CHECK_THROWS_WITH(files.load(), contains_text(part));
  };
  {
    const scratch_folder empty;
    CHECK_THROWS_WITH(clip_tokenizer(empty.path()), contains_text("vocab.json"));
    CHECK_THROWS_AS(clip_tokenizer(empty / "none"), bad_file);
  }
  for (const char* name : {"vocab.json", "merges.txt", "tokenizer_config.json"}) {
    const small_files files;
    files.load();
    std::filesystem::remove(files.folder / name);
    make_fifo(files.folder / name);
    CHECK_THROWS_WITH(clip_tokenizer(files.folder.path()),
                      contains_text(std::string(name) + ": is not a regular file but a FIFO"));
  }
  for (const auto& [vocabulary, part] : std::vector<std::pair<std::string, std::string>>{
           {"[", "vocab.json: is not a JSON object; where the file was cut short or damaged, copy it"},
           {"{\"a\": 1.5", "\"a\""},
           {"{\"a\": -1", "\"a\""},
           {"{\"a\": 99999999999999999999", "\"a\""},
           {"{\"a\": 1e999", "vocab.json"},
           {"{\"a\": \"b\"", "\"a\""},
           {"{\"a\": 1", "byte 0"},
           {small_clip_vocabulary() + ",\"new\":514", "\"new\" have the same id, 514"},
           {small_clip_vocabulary() + ",\"new\":516",
            "merges.txt: no merge makes token \"new\" of the vocabulary (id 516); where the file was cut"}}) {
    small_files files;
    files.vocabulary = vocabulary;
    refused(files, part);
  }
  for (const auto& [merges, part] :
       std::vector<std::pair<std::string, std::string>>{{"a\n", "merges.txt, line 1"},
                                                        {"#version: 0.2\na b\na b c\n", "merges.txt, line 3"},
                                                        {"#version: 0.2\na b\n b\n", "merges.txt, line 3"},
                                                        {"a zz\n", "no token \"zz\""},
                                                        {"a c\n", "no token \"ac\""},
                                                        {"", "no merge makes token"},
                                                        {"#version: 0.2\na b\n", "\"abc</w>\""}}) {
    small_files files;
    files.merges = merges;
    refused(files, part);
  }
  for (const auto& [name, text, part] : std::vector<std::array<std::string, 3>>{
           {"tokenizer_config.json", "[]", "tokenizer_config.json"},
           {"tokenizer_config.json", "{\"model_max_length\": \"77\"}", "model_max_length"},
           {"tokenizer_config.json", "{\"model_max_length\": 1}", "model_max_length"},
           {"tokenizer_config.json", "{\"pad_token\": 3}", "pad_token"},
           {"tokenizer_config.json", "{\"pad_token\": \"none such\"}", "none such"},
           {"tokenizer_config.json", "{\"eos_token\": {\"content\": \"a\", \"normalized\": 1}}",
            "eos_token.normalized"},
           {"tokenizer_config.json", "{\"added_tokens_decoder\": []}", "added_tokens_decoder"},
           {"tokenizer_config.json", "{\"added_tokens_decoder\": {\"x\": \"a\"}}", "\"x\""},
           {"special_tokens_map.json", "{\"bos_token\": []}", "bos_token"},
           {"added_tokens.json", "{\"new\": null}", "\"new\""},
           {"added_tokens.json", "{\"new\": 512}", "the added token \"new\" has the id of \"ab\", 512"},
           {"special_tokens_map.json", "{\"additional_special_tokens\": [\"none such\"]}", "none such"},
           {"tokenizer.json", "{\"model\": 1}", "byte-pair"},
           {"tokenizer.json", "{\"model\": {\"type\": \"Unigram\"}}", "byte-pair"},
           {"tokenizer.json", "{\"model\": {\"continuing_subword_prefix\": 1}}", "byte-pair"},
           {"tokenizer.json", "{\"model\": {}}", "model.vocab"},
           {"tokenizer.json", "{\"model\": {\"vocab\": {}}}", "model.merges"},
           {"tokenizer.json", "{\"model\": {\"vocab\": {}, \"merges\": []}}", "byte 0"}}) {
    const small_files files;
    write_bytes(files.folder / name, text);
    refused(files, part);
  }
}
