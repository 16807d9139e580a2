// The tokenizer against transformers' T5Tokenizer, from folders as they are found.

#include "token_cases.hpp"

#include <support/catch.hpp>
#include <support/file_faults.hpp>
#include <support/oracle.hpp>
#include <support/scratch_folder.hpp>

#include <pushforward/error.hpp>
#include <pushforward/libtorch/models/t5_tokenizer.hpp>

#include <array>
#include <bit>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

using namespace pushforward;
using namespace testing_support;
using libtorch::models::t5_tokenizer;

namespace {

// Protobuf's wire format.

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80U; value >>= 7U) bytes += static_cast<char>(0x80U | (value & 0x7fU));
  return bytes + static_cast<char>(value);
}

std::string whole_field(unsigned number, std::uint64_t value) { return varint(number << 3U) + varint(value); }

std::string field(unsigned number, const std::string& contents) {
  return varint(number << 3U | 2U) + varint(contents.size()) + contents;
}

std::string little_endian(std::uint32_t word) {
  std::string bytes;
  for (unsigned shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(word >> shift & 0xffU);
  return bytes;
}

std::string piece(const std::string& text, float score, std::uint64_t type = 1) {
  return field(1, field(1, text) + varint(2U << 3U | 5U) +
                      little_endian(std::bit_cast<std::uint32_t>(score)) + whole_field(3, type));
}

/// A map that writes "b" for "A": units 0 (the way to 1), 1 ^ 'A', and the leaf.
std::string small_map(std::uint32_t place = 0, const std::string& texts = std::string("b\0", 2)) {
  std::vector<std::uint32_t> units(256);
  units[0] = 1U << 10U;
  units[1 ^ 'A'] = std::uint32_t{'A'} | 1U << 8U | 2U << 10U;
  units[1 ^ 'A' ^ 2] = 0x80000000U | place;
  std::string trie;
  for (const auto unit : units) trie += little_endian(unit);
  return little_endian(static_cast<std::uint32_t>(trie.size())) + trie + texts;
}

/// A small spiece.model, whose parts can be replaced.
struct small_model {
  std::string pieces = piece("<pad>", 0, 3) + piece("</s>", 0, 3) + piece("<unk>", 0, 2) +
                       piece("\u2581", -2) + piece("a", -3) + piece("b", -4) + piece("\u2581ab", -4.5F);
  std::string training = field(2, whole_field(3, 1) + whole_field(40, 2));
  std::string map = small_map();
  scratch_folder folder;

  std::string bytes() const {
    return pieces + training + field(3, field(1, "nmt_nfkc") + field(2, map) + whole_field(3, 1));
  }
  t5_tokenizer load(const std::string& model) const {
    write_bytes(folder / "spiece.model", model);
    return t5_tokenizer(folder.path());
  }
  t5_tokenizer load() const { return load(bytes()); }
};

using ids = std::vector<std::int64_t>;

} // namespace

TEST_CASE("T5's tokenizer gives the ids of transformers for text of every kind") {
  const std::string name = GENERATE("plain", "sd3", "learnt", "single");
  CAPTURE(name);
  const auto folder = oracle_folder(std::filesystem::path(ORACLE_FOLDER) / "tokenizers") / name;
  const t5_tokenizer tokenize(folder);
  const safetensors::file expected(folder / "expected.safetensors");
  check_tokens(tokenize, expected, name == "single" ? 90 : 1000);
  for (const std::int64_t length : {1, 2, 77}) {
    const at::Tensor padded = libtorch::read_tensor(expected, "padded." + std::to_string(length));
    REQUIRE(padded.size(0) > 30);
    CHECK(at::equal(tokenize(first_texts(expected, padded.size(0)), length), padded));
  }
  CHECK(tokenize.length() == (name == "learnt" ? 32 : 512));
}

TEST_CASE("every character of Unicode 14 is tokenized as transformers' T5Tokenizer does") {
  const auto folder = oracle_folder(std::filesystem::path(ORACLE_FOLDER) / "tokenizers" / "plain");
  check_characters(t5_tokenizer(folder), safetensors::file(folder / "characters.safetensors"));
}

TEST_CASE("text that is not UTF-8 is refused by T5's tokenizer") {
  const small_model small;
  const auto tokenize = small.load();
  for (const char* text : {"\xff", "a\xc3", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80", "\x80"}) {
    CHECK_THROWS_AS(tokenize.encode(text), bad_option);
    CHECK_THROWS_WITH(tokenize.encode(text), contains_text("t5_tokenizer: the text is not UTF-8"));
    CHECK_THROWS_AS(tokenize({"good", text}), bad_option);
  }
}

TEST_CASE("a folder with spiece.model alone has T5's tokens and length") {
  const small_model small;
  const auto tokenize = small.load();
  CHECK(tokenize.length() == 512);
  CHECK(tokenize.end() == 1);
  CHECK(tokenize.pad() == 0);
  CHECK(tokenize.encode("ab aA") == ids{6, 6}); // "A" is written "b"
  CHECK(tokenize.encode("").empty());
  CHECK(tokenize.encode("<extra_id_0>a</s><extra_id_99>") == ids{106, 3, 4, 1, 7});
  CHECK(tokenize.encode("xyz a") == ids{3, 2, 3, 4}); // unknown characters beside each other are one
  CHECK(at::equal(tokenize({"ab", ""}, 4), at::tensor({6, 1, 0, 0, 1, 0, 0, 0}, at::kLong).view({2, 4})));
  CHECK(
      at::equal(tokenize({"a b a b"}, 4), at::tensor({3, 4, 3, 1}, at::kLong).view({1, 4}))); // the end stays
  CHECK(tokenize(std::vector<std::string>{}).sizes() == at::IntArrayRef{0, 512});
  CHECK(tokenize({"a"}).sizes() == at::IntArrayRef{1, 512});
  CHECK_THROWS_AS(tokenize({"a"}, 0), bad_option);
}

TEST_CASE("an unknown character counts as the least score less 10") {
  small_model small;
  const std::string start = piece("<pad>", 0, 3) + piece("</s>", 0, 3) + piece("<unk>", 0, 2) +
                            piece("\u2581", 0) + piece("xa", -20);
  small.pieces = start + piece("a", 9.5F);
  CHECK(small.load().encode("xa") == ids{3, 4}); // -20 is more than -30 + 9.5
  small.pieces = start + piece("a", 10.5F);
  CHECK(small.load().encode("xa") == ids{3, 2, 5});
}

TEST_CASE("a word's mark that is in the text begins a word") {
  small_model small;
  small.pieces += piece("b\u2581", -0.5F); // 7: of no word
  CHECK(small.load().encode("b\u2581a \u2581b\u2581\u2581a") == ids{3, 5, 3, 4, 3, 5, 3, 3, 4});
}

TEST_CASE("a spiece.model that is cut short is refused, wherever it ends") {
  const small_model small;
  const std::string whole = small.bytes();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size, whole.size());
    CHECK_THROWS_AS(small.load(whole.substr(0, size)), bad_file);
  }
  CHECK_NOTHROW(small.load(whole + field(5, "") + field(4, ""))); // what is not read may follow
}

TEST_CASE("a map of characters that goes in a circle does no harm") {
  small_model small;
  const std::string unit =
      little_endian(std::uint32_t{'B'} | 3U << 10U); // 1 -> 1 ^ 'B' -> 1 ^ 'B' ^ 3, and back
  small.map.replace(4 + 4 * (1 ^ 'B'), 4, unit);
  small.map.replace(4 + 4 * (1 ^ 'B' ^ 3 ^ 'B'), 4, unit);
  CHECK(small.load().encode("aB" + std::string(1000, 'B') + "\u0301").size() == 3);
}

TEST_CASE("a spiece.model with other bytes gives a tokenizer or is refused") {
  const small_model small;
  const std::string whole = small.bytes();
  std::uint32_t state = 1;
  const auto chance = [&] { return (state = state * 1664525U + 1013904223U) >> 8U; };
  int refused = 0;
  const auto load = [&](const std::string& bytes) {
    try {
      small.load(bytes).encode("ab \u00e9 A <pad> xyz\xf0\x9f\x98\x80");
    } catch (const bad_file&) {
      ++refused;
    }
  };
  for (int i = 0; i < 300; ++i) {
    std::string noise(1 + chance() % 300, '\0');
    for (auto& c : noise) c = static_cast<char>(chance());
    load(noise);
  }
  CHECK(refused == 300);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string changed = whole;
    changed[i] = static_cast<char>(chance());
    load(changed);
  }
}

TEST_CASE("a T5 tokenizer's file that is missing or malformed is named") {
  const auto refused = [](const small_model& small, const std::string& part) {
    CAPTURE(part);
    CHECK_THROWS_AS(small.load(), bad_file);
    CHECK_THROWS_WITH(small.load(), contains_text(part));
  };
  {
    const scratch_folder empty;
    CHECK_THROWS_AS(t5_tokenizer(empty.path()), bad_file);
    CHECK_THROWS_WITH(t5_tokenizer(empty.path()), contains_text("spiece.model"));
    CHECK_THROWS_WITH(t5_tokenizer(empty / "none"), contains_text("is not a folder"));
    make_fifo(empty / "spiece.model");
    CHECK_THROWS_WITH(t5_tokenizer(empty.path()),
                      contains_text("spiece.model: is not a regular file but a FIFO"));
  }
  const std::string start = piece("<pad>", 0, 3) + piece("</s>", 0, 3), unknown = piece("<unk>", 0, 2);
  for (const auto& [pieces, part] : std::vector<std::pair<std::string, std::string>>{
           {"", "it has no pieces"},
           {start + piece("<unk>", 0, 1), "piece 2 is the unknown one"},
           {start, "piece 2 is the unknown one"},
           {start + unknown + piece("", 0), "piece 3 is empty"},
           {start + unknown + piece("\xff", 0), "piece 3 is not UTF-8"},
           {start + unknown + piece("a", NAN), "piece 3 has a score that is not finite"},
           {start + unknown + piece("a", -INFINITY), "piece 3 has a score that is not finite"},
           {start + unknown + piece("a", 0) + piece("a", 0), "piece \"a\" is there twice"},
           {start + unknown + piece("<extra_id_3>", 0), "piece \"<extra_id_3>\" is there twice"},
           {piece("<pad>", 0, 3) + piece("<s>", 0, 3) + unknown, "\"</s>\" is not in the vocabulary"}}) {
    small_model small;
    small.pieces = pieces;
    refused(small, part);
  }
  for (const auto& training :
       {field(2, whole_field(3, 2)), field(2, whole_field(35, 1))}) { // pairs of bytes; bytes
    small_model small;
    small.training = training;
    refused(small, "is not the model of a T5");
  }
  for (const auto& map : {std::string("abc"), small_map().substr(0, 500), small_map(2), small_map(0x7fffffff),
                          small_map(0, std::string("\xff\0", 2)), small_map(0, "b"), little_endian(0) + "b",
                          little_endian(6) + std::string(9, 'a')}) {
    small_model small;
    small.map = map;
    refused(small, "spiece.model: its map of characters is damaged; where the file was cut short");
  }
  for (const auto& [name, text, part] : std::vector<std::array<std::string, 3>>{
           {"tokenizer_config.json", "[]", "tokenizer_config.json"},
           {"tokenizer_config.json", "{\"model_max_length\": \"77\"}", "model_max_length"},
           {"tokenizer_config.json", "{\"extra_ids\": -1}", "extra_ids"},
           {"tokenizer_config.json", "{\"extra_ids\": 1.5}", "extra_ids"},
           {"tokenizer_config.json", "{\"extra_ids\": 1e9}", "extra_ids"},
           {"tokenizer_config.json", "{\"extra_ids\": \"a\"}", "extra_ids"},
           {"tokenizer_config.json", "{\"pad_token\": \"none such\"}", "none such"},
           {"tokenizer_config.json", "{\"added_tokens_decoder\": {\"x\": \"a\"}}", "\"x\""},
           {"added_tokens.json", "{\"a\": 3}",
            "the added token \"a\" has the id 3, but the vocabulary has it as 4"},
           {"special_tokens_map.json", "{\"eos_token\": []}", "eos_token"},
           {"tokenizer.json", "{\"model\": 1}", "tokenizer.json: its model is not that of a T5"},
           {"tokenizer.json", "{\"model\": {\"type\": \"BPE\", \"unk_id\": 2}}", "is not that of a T5"},
           {"tokenizer.json", "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 0}}", "is not that of a T5"},
           {"tokenizer.json", "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 2, \"byte_fallback\": true}}",
            "is not that of a T5"},
           {"tokenizer.json", "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 2}}",
            "model.vocab is not a list"},
           {"tokenizer.json", "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 2, \"vocab\": [[\"a\"]]}}",
            "entry 0 of model.vocab"},
           {"tokenizer.json",
            "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 2, \"vocab\": []}, \"normalizer\": "
            "{\"precompiled_charsmap\": \"?\"}}",
            "precompiled_charsmap is not base64"},
           {"tokenizer.json", "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 2, \"vocab\": []}}",
            "\"</s>\" is not in the vocabulary"}}) {
    const small_model small;
    write_bytes(small.folder / name, text);
    refused(small, part);
  }
}
