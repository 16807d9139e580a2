// The tokenizer against transformers' CLIPTokenizer, from folders as they are found.

#include "clip_small_vocabulary.hpp"
#include "token_cases.hpp"

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
  check_tokens(tokenize, expected, 1000);
  const at::Tensor padded = libtorch::read_tensor(expected, "padded"); // of the first texts
  REQUIRE(padded.size(0) > 30);
  CHECK(at::equal(tokenize(first_texts(expected, padded.size(0))), padded));
}

TEST_CASE("every character of Unicode 14 is tokenized as transformers does") {
  const auto folder = oracle_folder(std::filesystem::path(ORACLE_FOLDER) / "tokenizers" / "sd1");
  if (folder.empty()) return;
  const clip_tokenizer tokenize(folder);
  const safetensors::file expected(folder / "characters.safetensors");
  check_characters(tokenize, expected);
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
