#pragma once
/// \file
/// How much memory a process can still take before the kernel ends it.

#include <filesystem>
#include <string>

namespace stable_diffusion {

/// Bytes that are free for this process: what the system has, within the limits of its control group (of
/// either version) and of the groups around it, of which the tightest counts.
///
/// Page cache that a group holds counts as free, of files used lately (active_file) as of others
/// (inactive_file): where the group reaches its limit, the kernel takes both back before it ends a process,
/// as it does for the whole system, whose MemAvailable counts both, too. What lies in a tmpfs is not among
/// them: it can go to swap at most.
///
/// \param proc where the kernel shows its processes
/// \param cgroups where control groups are mounted
double free_memory(const std::filesystem::path& proc = "/proc",
                   const std::filesystem::path& cgroups = "/sys/fs/cgroup");

/// "1234 MB"
std::string megabytes(double bytes);

} // namespace stable_diffusion
