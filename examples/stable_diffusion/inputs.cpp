#include "inputs.hpp"

#include <algorithm>
#include <set>
#include <system_error>

namespace stable_diffusion {

namespace fs = std::filesystem;

namespace {

bool is_read(const std::string& name) {
  static const std::set<std::string> texts{"config.json",
                                           "model_index.json",
                                           "scheduler_config.json",
                                           "vocab.json",
                                           "merges.txt",
                                           "tokenizer.json",
                                           "spiece.model",
                                           "tokenizer_config.json",
                                           "special_tokens_map.json",
                                           "added_tokens.json"};
  return texts.count(name) || name.find(".safetensors") != std::string::npos; // an index names any shard
}

} // namespace

std::vector<examples::input_file> network_files(const fs::path& folder, const std::string& what) {
  std::vector<examples::input_file> files;
  std::error_code fault;
  for (fs::directory_iterator i(folder, fault), end; !fault && i != end; i.increment(fault))
    if (is_read(i->path().filename().string())) files.push_back({what, i->path()});
  return files;
}

std::vector<examples::input_file> files_of(const model_arguments& a) {
  std::error_code none;
  const std::string checkpoint = "a file of the checkpoint";
  std::vector<examples::input_file> all{{checkpoint, a.checkpoint}, {"the autoencoder", a.vae}};
  const auto add = [&](const fs::path& folder, const std::string& what) {
    for (auto& file : network_files(folder, what)) all.push_back(std::move(file));
  };
  add(a.checkpoint, checkpoint);
  for (const char* part : {"unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3",
                           "tokenizer", "tokenizer_2", "tokenizer_3", "scheduler"})
    add(a.checkpoint / part, checkpoint);
  if (!a.vae.empty()) {
    const std::string autoencoder = "a file of the autoencoder";
    add(a.vae, autoencoder);
    add(a.vae / "vae", autoencoder); // of a whole checkpoint
    if (fs::is_regular_file(a.vae, none)) all.push_back({autoencoder, a.vae.parent_path() / "config.json"});
  }
  const std::string tokenizer = "a file of the tokenizer";
  if (fs::is_regular_file(a.checkpoint, none)) { // what it lacks may lie beside it
    const fs::path beside = a.checkpoint.parent_path();
    for (const char* part : {"tokenizer", "tokenizer_2", "tokenizer_3"}) add(beside / part, tokenizer);
    add(beside / "text_encoders", "a text encoder");
  }
  if (!a.tokenizer.empty()) {
    add(a.tokenizer, tokenizer);
    for (const char* part : {"tokenizer", "tokenizer_2", "tokenizer_3"}) add(a.tokenizer / part, tokenizer);
  }
  if (!a.text_encoders.empty()) add(a.text_encoders, "a text encoder");
  return all;
}

} // namespace stable_diffusion
