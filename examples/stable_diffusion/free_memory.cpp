#include "free_memory.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <sstream>
#include <string>

namespace stable_diffusion {

namespace fs = std::filesystem;

namespace {

constexpr double unlimited = std::numeric_limits<double>::infinity();

/// The number that a file holds; none where there is no such file, or where it says "max".
std::optional<double> number_in(const fs::path& file) {
  double value = 0.0;
  if (std::ifstream(file) >> value) return value;
  return {};
}

/// Lines "key value" or "key: value unit".
std::map<std::string, double> table_in(const fs::path& file) {
  std::map<std::string, double> rows;
  std::ifstream in(file);
  std::string key;
  double value = 0.0;
  for (std::string rest; in >> key >> value; std::getline(in, rest)) rows[key] = value;
  return rows;
}

/// What the files of a version of control groups are called.
struct names {
  const char *limit, *usage, *inactive, *active;
};
constexpr names version_2{"memory.max", "memory.current", "inactive_file", "active_file"};
constexpr names version_1{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
                          "total_active_file"};

double free_in_group(const fs::path& group, const names& n) {
  const auto limit = number_in(group / n.limit), usage = number_in(group / n.usage);
  if (!limit || !usage) return unlimited;
  auto rows = table_in(group / "memory.stat");
  const double cache = std::min(rows[n.inactive] + rows[n.active], *usage);
  double most = *limit;
  // of the groups around this one, which a container may not see
  if (const auto outer = rows.find("hierarchical_memory_limit"); outer != rows.end())
    most = std::min(most, outer->second);
  return most - (*usage - cache);
}

/// The least of a group and all around it. Without a namespace of its own a container may see its group as
/// the root, under none of the names that the kernel gives: those that are not there limit nothing.
double free_in_groups(const fs::path& root, const std::string& group, const names& n) {
  double least = free_in_group(root, n);
  fs::path at = root;
  for (const auto& name : fs::path(group).relative_path()) {
    if (name == "..") break; // outside what this process may see
    at /= name;
    least = std::min(least, free_in_group(at, n));
  }
  return least;
}

bool lists(const std::string& controllers, const std::string& wanted) {
  std::istringstream in(controllers);
  for (std::string one; std::getline(in, one, ',');)
    if (one == wanted) return true;
  return false;
}

} // namespace

double free_memory(const fs::path& proc, const fs::path& cgroups) {
  double free = unlimited;
  const auto rows = table_in(proc / "meminfo");
  if (const auto available = rows.find("MemAvailable:"); available != rows.end())
    free = 1024.0 * available->second;
  free = std::min(
      {free, free_in_groups(cgroups, "", version_2), free_in_groups(cgroups / "memory", "", version_1)});
  // lines "number:controllers:group", of the second version "0::group"
  std::ifstream groups(proc / "self" / "cgroup");
  for (std::string line; std::getline(groups, line);) {
    const auto begin = line.find(':');
    const auto end = begin == std::string::npos ? begin : line.find(':', begin + 1);
    if (end == std::string::npos) continue;
    const std::string controllers = line.substr(begin + 1, end - begin - 1), group = line.substr(end + 1);
    if (controllers.empty()) free = std::min(free, free_in_groups(cgroups, group, version_2));
    if (lists(controllers, "memory"))
      free = std::min(free, free_in_groups(cgroups / "memory", group, version_1));
  }
  return free;
}

std::string megabytes(double bytes) {
  return std::to_string(static_cast<long long>(std::max(bytes, 0.0) / 1e6 + 0.5)) + " MB";
}

} // namespace stable_diffusion
