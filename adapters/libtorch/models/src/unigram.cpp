#include "unigram.hpp"

#include "tokenizer_files.hpp"

#include <pushforward/error.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace pushforward::libtorch::models {

namespace {

using json = nlohmann::json;

/// The fields of a protobuf message, one after the other.
class message {
public:
  message(std::string_view bytes, const std::string& file) : left_{bytes}, file_{file} {}

  std::uint64_t number = 0;  ///< of the field
  std::uint64_t value = 0;   ///< of a varint, or the bits of a fixed-size field
  std::string_view contents; ///< of a field with a length: bytes, a string or a message

  /// Moves on to the next field; false where there is none.
  bool next() {
    if (left_.empty()) return false;
    const std::uint64_t key = varint();
    number = key >> 3U;
    switch (key & 7U) {
    case 0:
      value = varint();
      break;
    case 1:
      value = fixed(8);
      break;
    case 2:
      contents = take(varint());
      break;
    case 5:
      value = fixed(4);
      break;
    default:
      wrong();
    }
    if (number == 0) wrong();
    return true;
  }

private:
  [[noreturn]] void wrong() const { damaged(file_, "is not a SentencePiece model"); }

  std::string_view take(std::uint64_t count) {
    if (count > left_.size()) wrong();
    const auto taken = left_.substr(0, static_cast<std::size_t>(count));
    left_.remove_prefix(taken.size());
    return taken;
  }

  std::uint64_t fixed(unsigned bytes) {
    std::uint64_t bits = 0;
    unsigned shift = 0;
    for (const char c : take(bytes)) {
      bits |= std::uint64_t{static_cast<unsigned char>(c)} << shift;
      shift += 8;
    }
    return bits;
  }

  std::uint64_t varint() {
    std::uint64_t bits = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1).front());
      bits |= std::uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80U) return bits;
    }
    wrong();
  }

  std::string_view left_;
  const std::string& file_;
};

// Types of pieces, and of models.
constexpr std::uint64_t normal = 1, unknown = 2, control = 3, user_defined = 4;
constexpr std::uint64_t unigram_model = 1;

/// What base64 stands for; none where it is not base64.
std::optional<std::string> bytes_of_base64(std::string_view text) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string bytes;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    const auto digit = digits.find(c);
    if (digit == digits.npos) return {};
    bits = bits << 6U | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count >= 8) bytes += static_cast<char>(bits >> (count -= 8) & 0xffU);
  }
  return bytes;
}

} // namespace

unigram_file read_sentencepiece(const std::filesystem::path& path) {
  unigram_file file;
  file.name = path.string();
  const std::string text = read_text(path);
  std::uint64_t model = unigram_model, type_of_unknown = normal;
  bool bytes_for_unknown = false, trained = false, normalised = false;
  message all(text, file.name);
  while (all.next()) {
    message part(all.contents, file.name);
    if (all.number == 1) { // a piece
      std::string piece;
      float score = 0;
      std::uint64_t type = normal;
      while (part.next()) {
        if (part.number == 1) piece = part.contents;
        if (part.number == 2) score = std::bit_cast<float>(static_cast<std::uint32_t>(part.value));
        if (part.number == 3) type = part.value;
      }
      if (type == control || type == user_defined) file.special.push_back(piece);
      if (file.pieces.size() == unknown_piece) type_of_unknown = type;
      file.pieces.emplace_back(std::move(piece), score);
    } else if (all.number == 2) { // how it was trained
      trained = true;
      while (part.next()) {
        if (part.number == 3) model = part.value;
        if (part.number == 35) bytes_for_unknown = part.value != 0;
      }
    } else if (all.number == 3) { // how text is normalised, the last part that is read here
      normalised = true;
      while (part.next())
        if (part.number == 2) file.character_map = part.contents;
    }
  }
  if (file.pieces.empty()) damaged(file.name, "is not a SentencePiece model: it has no pieces");
  if (!trained || !normalised) damaged(file.name, "is only the beginning of a SentencePiece model");
  if (model != unigram_model || bytes_for_unknown || type_of_unknown != unknown)
    refuse(file.name,
           "is not the model of a T5: that is of unigrams, without bytes for what is unknown, and its "
           "piece 2 is the unknown one");
  return file;
}

unigram_file unigram_of(const json& tokenizer, const std::string& name) {
  unigram_file file;
  file.name = name;
  const json none, &model = tokenizer.contains("model") ? tokenizer["model"] : none;
  const auto is = [&](const char* key, const json& wanted) {
    return model.contains(key) && model[key] == wanted;
  };
  if (!model.is_object() || !is("type", "Unigram") || !is("unk_id", unknown_piece) ||
      is("byte_fallback", true))
    refuse(
        name,
        "its model is not that of a T5: one of unigrams, without bytes for what is unknown, whose piece 2 is "
        "the unknown one");
  if (!model.contains("vocab") || !model["vocab"].is_array()) damaged(name, "model.vocab is not a list");
  for (const json& entry : model["vocab"]) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
      damaged(name, "entry " + std::to_string(file.pieces.size()) +
                        " of model.vocab is not a piece with its score");
    file.pieces.emplace_back(entry[0].get<std::string>(), entry[1].get<double>());
  }
  if (!tokenizer.contains("normalizer")) return file;
  const json& normalizer = tokenizer["normalizer"];
  const bool several =
      normalizer.is_object() && normalizer.contains("normalizers") && normalizer["normalizers"].is_array();
  for (const json& one : several ? normalizer["normalizers"] : json::array({normalizer})) {
    if (!one.is_object() || !one.contains("precompiled_charsmap")) continue;
    const json& map = one["precompiled_charsmap"];
    auto bytes = map.is_string() ? bytes_of_base64(map.get_ref<const std::string&>()) : std::nullopt;
    if (!bytes) damaged(name, "its precompiled_charsmap is not base64");
    file.character_map = std::move(*bytes);
    break;
  }
  return file;
}

unigram::unigram(const unigram_file& file) {
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [piece, score] : file.pieces) {
    const auto id = static_cast<std::int64_t>(sorted_.size());
    const auto require = [&](bool good, const std::string& what) {
      if (!good) damaged(file.name, "piece " + std::to_string(id) + " " + what);
    };
    require(!piece.empty(), "is empty");
    require(is_utf8(piece), "is not UTF-8");
    require(std::isfinite(score), "has a score that is not finite");
    sorted_.push_back({piece, id, score});
    least = std::min(least, score);
  }
  unknown_score_ = least - 10;
  std::ranges::sort(sorted_, {}, &entry::piece);
  const auto twice = std::ranges::adjacent_find(sorted_, {}, &entry::piece);
  if (twice != sorted_.end()) damaged(file.name, "piece \"" + twice->piece + "\" is there twice");
}

std::optional<std::int64_t> unigram::id_of(std::string_view piece) const {
  const auto found = std::ranges::lower_bound(sorted_, piece, {}, &entry::piece);
  if (found == sorted_.end() || found->piece != piece) return {};
  return found->id;
}

void unigram::encode(std::string_view word, std::vector<std::int64_t>& ids) const {
  constexpr std::size_t nowhere = std::string_view::npos;
  struct place { // in the word: the best way to it
    double score = 0;
    std::size_t from = nowhere;
    std::int64_t id = unknown_piece;
  };
  std::vector<place> places(word.size() + 1);
  for (std::size_t i = 0, after = 0; i < word.size(); i = after) {
    after = i + 1; // the next character
    while (after < word.size() && (static_cast<unsigned char>(word[after]) & 0xc0U) == 0x80U) ++after;
    const auto reach = [&](std::size_t end, double score, std::int64_t id) {
      const double sum = score + places[i].score;
      if (places[end].from == nowhere || sum > places[end].score) places[end] = {sum, i, id};
    };
    bool covered = false;
    auto begin = sorted_.begin(), end = sorted_.end(); // the pieces that have the word's next n bytes
    for (std::size_t n = 0; i + n < word.size() && begin != end; ++n) {
      const auto byte = [n](const entry& e) {
        return e.piece.size() > n ? static_cast<unsigned char>(e.piece[n]) : -1;
      };
      const int wanted = static_cast<unsigned char>(word[i + n]);
      begin = std::ranges::lower_bound(begin, end, wanted, {}, byte);
      end = std::ranges::upper_bound(begin, end, wanted, {}, byte);
      if (begin == end || begin->piece.size() != n + 1) continue;
      reach(i + n + 1, begin->score, begin->id);
      covered = covered || i + n + 1 == after;
    }
    if (!covered) reach(after, unknown_score_, unknown_piece);
  }
  const auto first = static_cast<std::ptrdiff_t>(ids.size());
  for (std::size_t end = word.size(); end > 0; end = places[end].from)
    if (places[end].id != unknown_piece || std::ssize(ids) == first || ids.back() != unknown_piece)
      ids.push_back(places[end].id);
  std::reverse(ids.begin() + first, ids.end());
}

} // namespace pushforward::libtorch::models
