#include "outputs.hpp"

#include <algorithm>
#include <cctype>
#include <set>
#include <system_error>

namespace examples {

namespace fs = std::filesystem;

namespace {

/// Endings by which a user means a kind of file. Others are part of a name: "v1.5", "out.2".
bool names_a_kind(const std::string& ending) {
  static const std::set<std::string> kinds{
      ".png",  ".apng", ".jpg", ".jpeg", ".webp", ".gif",  ".bmp", ".tif",  ".tiff",       ".avif",
      ".heic", ".svg",  ".pdf", ".htm",  ".html", ".json", ".csv", ".txt",  ".md",         ".zip",
      ".mp4",  ".webm", ".pt",  ".pth",  ".npy",  ".npz",  ".bin", ".ckpt", ".safetensors"};
  return kinds.count(ending) != 0;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

} // namespace

fs::path output_name(const std::string& given, const fs::path& standard,
                     const std::vector<std::string>& endings) {
  if (given.empty())
    throw CLI::ValidationError("the name is empty; give one, or a folder for " + standard.string());
  const fs::path path = given;
  std::error_code none;
  if (!path.has_filename() || path.filename() == "." || path.filename() == ".." ||
      fs::is_directory(path, none))
    return path / standard;
  const auto is = [&](const fs::path& ending) {
    return std::find(endings.begin(), endings.end(), ending.string()) != endings.end();
  };
  if (is(path.filename()))
    throw CLI::ValidationError("there is no name before " + path.filename().string() + " in " + given);
  if (is(path.extension())) return fs::path(path).replace_extension();
  if (const std::string ending = lower(path.extension().string()); !endings.empty() && names_a_kind(ending)) {
    std::string own;
    for (const auto& e : endings) own += (own.empty() ? "" : ", ") + e;
    throw CLI::ValidationError(given + " ends in " + path.extension().string() +
                               ", but what is written ends in " + own + ": leave the ending out");
  }
  return path;
}

CLI::Option* add_output_option(CLI::App& app, fs::path& out, const std::string& help,
                               const std::vector<std::string>& endings) {
  const auto named = [standard = out, endings](const std::string& given) {
    return output_name(given, standard, endings).string();
  };
  return app.add_option("--out", out, help + "; a folder: in it")
      ->capture_default_str()
      ->transform(named, "");
}

CLI::Option* add_output_folder_option(CLI::App& app, const std::string& name, fs::path& folder,
                                      const std::string& help) {
  return app.add_option(name, folder, help)->capture_default_str()->check([](const std::string& given) {
    return given.empty() ? std::string("the name of the folder is empty") : std::string();
  });
}

} // namespace examples
