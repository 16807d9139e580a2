"""Unpacks what C++ needs of libtorch from wheels: unpack_libtorch.py [--cuda] FOLDER WHEEL...

Without --cuda, what only runs on a GPU is left out: half of the size.
"""

import argparse
import fnmatch
import pathlib
import zipfile

WANTED = ["torch/include/*", "torch/lib/*.so*", "torch/share/cmake/*", "nvidia/*/lib/*.so*", "nvidia/*/include/*"]
NEVER = ["torch/lib/libtorch_python.so"]
ONLY_CUDA = ["torch/lib/lib*cuda*.so", "torch/lib/libtorch_nvshmem.so", "torch/lib/libcaffe2_nvrtc.so",
             "torch/lib/libtorch.so", "nvidia/*/include/*", "nvidia/*/lib/libnvperf*", "nvidia/*/lib/libpcsampling*",
             "nvidia/*/lib/libcheckpoint*"]


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuda", action="store_true")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("wheels", nargs="+", type=pathlib.Path)
    options = parser.parse_args()
    skip = NEVER if options.cuda else NEVER + ONLY_CUDA
    for wheel in options.wheels:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if matches(member.filename, WANTED) and not matches(member.filename, skip):
                    archive.extract(member, options.folder)


if __name__ == "__main__":
    main()
