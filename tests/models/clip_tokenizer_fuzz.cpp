// libFuzzer: the first byte says which of a tokenizer's files the others are. Whatever they hold, reading
// them throws bad_file or gives a tokenizer, and that throws bad_option for them as text or gives ids.

#include "clip_small_vocabulary.hpp"

#include <support/scratch_folder.hpp>

#include <pushforward/error.hpp>
#include <pushforward/libtorch/models/clip_tokenizer.hpp>

#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace testing_support;
  static const scratch_folder folder;
  constexpr const char* names[] = {"vocab.json",     "merges.txt",        "tokenizer_config.json",
                                   "tokenizer.json", "added_tokens.json", "special_tokens_map.json"};
  if (size == 0) return 0;
  for (const char* name : names) std::filesystem::remove(folder / name);
  write_bytes(folder / "vocab.json", small_clip_vocabulary() + "}");
  write_bytes(folder / "merges.txt", small_clip_merges());
  const std::string bytes(data + 1, data + size);
  write_bytes(folder / names[data[0] % std::size(names)], bytes);
  try {
    const pushforward::libtorch::models::clip_tokenizer tokenize(folder.path());
    tokenize.encode("ab abc! <|endoftext|> MOSS");
    tokenize.encode(bytes);
  } catch (const pushforward::bad_file&) {
  } catch (const pushforward::bad_option&) {
  }
  return 0;
}
