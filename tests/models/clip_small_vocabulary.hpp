#pragma once
// A CLIP vocabulary that is whole and small: the 256 bytes, two merges and the special tokens.

#include <string>

namespace testing_support {

/// vocab.json without the closing brace, to which more tokens can be added: ids 0..511 for the bytes, each
/// within a word and at its end; 512 "ab", 513 "abc</w>", 514 and 515 start and end.
inline std::string small_clip_vocabulary() {
  std::string json;
  int id = 0, other = 0x100;
  const auto add = [&](const std::string& token) {
    json += (id ? ",\"" : "{\"") + token + "\":" + std::to_string(id);
    ++id;
  };
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b > 0x20 && b < 0x7f) || (b > 0xa0 && b != 0xad);
    const int c = printable ? b : other++;
    std::string symbol =
        c < 0x80 ? std::string(1, static_cast<char>(c))
                 : std::string{static_cast<char>(0xc0 | (c >> 6)), static_cast<char>(0x80 | (c & 0x3f))};
    if (symbol == "\"" || symbol == "\\") symbol = "\\" + symbol;
    add(symbol);
    add(symbol + "</w>");
  }
  for (const char* token : {"ab", "abc</w>", "<|startoftext|>", "<|endoftext|>"}) add(token);
  return json;
}

inline std::string small_clip_merges() { return "#version: 0.2\na b\nab c</w>\n"; }

} // namespace testing_support
