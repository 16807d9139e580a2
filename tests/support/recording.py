"""Recordings of what the oracle scripts write; tests/recorded/README.md says what they are made of.

recording.py record [NAME...]       runs the scripts tests/*/NAME.py and writes tests/recorded/NAME; without a name, of
                                    all that are there
recording.py compare NAME EXPANDED  runs the script, and compares what it writes with EXPANDED, which
                                    expand_recording.cpp has made of the recording
"""

import itertools
import json
import pathlib
import re
import runpy
import shutil
import sys
import tempfile

import numpy
import oracle
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

TESTS = pathlib.Path(__file__).resolve().parent.parent
RECORDED = TESTS / "recorded"
NAMES = {torch.uint8: "U8", torch.int16: "I16", torch.int32: "I32", torch.int64: "I64", torch.float32: "F32",
         torch.float64: "F64"}


def run(name, folder):
    """Runs a script as by hand."""
    script = next(TESTS.glob(f"*/{name}.py"), None)
    if not script:
        sys.exit(f"there is no script tests/*/{name}.py")
    oracle.recipes = {}
    oracle.roundings.clear()
    sys.argv = [str(script), str(folder)]
    runpy.run_path(str(script), run_name="__main__")


def files_of(folder):
    return sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())


def read(path):
    """Metadata, tensors."""
    with safe_open(path, "pt") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in sorted(file.keys())}


# --- writing -----------------------------------------------------------------------------------------------------------


def views(tensor):
    """(axes, view) for every order and direction of the axes; one that is turned round is written -1 - axis."""
    n = tensor.dim()
    for order in itertools.permutations(range(n)):
        for turned in itertools.product((False, True), repeat=n):
            axes = [-1 - a if turned[i] else a for i, a in enumerate(order)]
            yield axes, tensor.permute(order).flip([i for i in range(n) if turned[i]])


def back(axes):
    """The axes that lead from a view to its tensor."""
    result = [0] * len(axes)
    for i, a in enumerate(axes):
        result[a if a >= 0 else -1 - a] = i if a >= 0 else -1 - i
    return result


def short(pairs, names, replaced):
    """{name: other name} without the ends that both share, {"a.b.weight": "c.weight"} as {"a.b": "c"}; None where that
    says more of the file that has the other `names` than is `replaced` afterwards."""
    for least, most in (0, 99), (1, 99), (1, 1), (0, 0):
        result = {}
        for mine, other in pairs.items():
            mine, other = mine.split("."), other.split(".")
            for _ in range(min(most, len(mine) - least, len(other) - least)):
                if mine[-1] == other[-1]:
                    mine.pop(), other.pop()
            result[".".join(mine)] = ".".join(other)
        if {name: other for name, other in long(result, names).items() if name not in replaced} == pairs:
            return result
    return None


def long(renamed, names):
    """The inverse of `short`: of several beginnings of a name the longest counts."""
    starts = {}
    for mine, other in renamed.items():
        starts.setdefault(other, []).append(mine)
    result = {}
    for name in names:
        parts = name.split(".")
        ends = [n for n in range(len(parts) + 1) if ".".join(parts[:n]) in starts]
        for mine in starts[".".join(parts[:ends[-1]])] if ends else []:
            result[".".join(filter(None, [mine, *parts[ends[-1]:]]))] = name
    return result


def narrowed(tensor):
    """Whole numbers in the smallest type that holds them."""
    if not tensor.is_floating_point():
        for kind in torch.uint8, torch.int16, torch.int32:
            if torch.equal(tensor.to(kind).to(tensor.dtype), tensor):
                return tensor.to(kind)
    return tensor


class describer:
    """Says what the tensors of files are, one file after the other."""

    def __init__(self):
        self.known = {}  # content -> [(file, name, shape)], of the files and the tensors before
        self.names = {}  # file -> the names in it

    def generated(self, name, tensor):
        """(what the key has before the name, recipe), or None."""
        for key, multiple, exponent, offset in oracle.recipes.get(oracle.content(tensor), []):
            if key.endswith(name):
                return key[:len(key) - len(name)], [list(tensor.shape), multiple, exponent] + [offset] * (offset != 0)
        return None

    def find(self, path, tensor):
        """(file, name, shape) of the same numbers: of another file in the folder, or where there is enough to save."""
        places = self.known.get(oracle.content(tensor), [])
        beside = [p for p in places if p[0].parent == path.parent and p[0] != path]
        return (beside + (places if tensor.numel() >= 250 else []) + [None])[0]

    def rebuilt(self, path, tensor):
        """A tensor that is another in another order or shape, or several end to end; or None."""
        if found := self.find(path, tensor):
            return {"file": str(found[0]), "of": [found[1]], "shape": list(tensor.shape)}
        if 2 <= tensor.dim() <= 3:
            for axes, view in views(tensor):
                if (found := self.find(path, view)) and found[2] == view.shape:
                    return {"file": str(found[0]), "of": [found[1]], "axes": back(axes), "shape": list(tensor.shape)}
        if tensor.dim() > 0 and tensor.shape[0] % 3 == 0:  # query, key and value
            parts = [self.find(path, part) for part in tensor.chunk(3)]
            if all(parts) and len({file for file, _, _ in parts}) == 1:
                return {"file": str(parts[0][0]), "of": [name for _, name, _ in parts], "shape": list(tensor.shape)}
        return None

    def describe(self, path, metadata, tensors):
        """The description, and the tensors to be kept."""
        generated, same, rebuilt, kept = {}, {}, {}, {}
        for name, tensor in tensors.items():
            found = self.find(path, tensor)
            if recipe := self.generated(name, tensor):
                module, parameter = ".".join(name.split(".")[:-2]), ".".join(name.split(".")[-2:])
                generated.setdefault(recipe[0], {}).setdefault(module, {})[parameter] = recipe[1]
            elif found and found[2] == tensor.shape and found[0] != path:
                same.setdefault(found[0], {})[name] = found[1]
            elif description := self.rebuilt(path, tensor):
                rebuilt[name] = description
            else:
                kept[name] = tensor
            self.known.setdefault(oracle.content(tensor), []).append((path, name, tensor.shape))
        self.names[path] = list(tensors)
        renamed = {str(file): short(pairs, self.names[file], rebuilt) for file, pairs in same.items()}
        assert all(renamed.values()), f"{path}: no renaming of {list(renamed)}"
        recorded = {name: NAMES[tensor.dtype] for name, tensor in kept.items()}
        return (dict(metadata=metadata, generated=generated, renamed=renamed, rebuilt=rebuilt, recorded=recorded),
                {name: narrowed(tensor) for name, tensor in kept.items()})


def text_of(value, depth, indent="\n"):
    """JSON; what is deeper than `depth` on one line."""
    if depth == 0:
        return re.sub(r"([]\d]), (?=[-\d])", r"\1,", json.dumps(value))
    rows = [f"{indent} {json.dumps(k)}: {text_of(v, depth - 1, indent + ' ')}" for k, v in value.items()]
    return "{" + ",".join(rows) + indent + "}"


def write(folder, recording):
    """The recording of a folder that a script has just written. What it had before stays where only rounding differs."""
    before = {path: read(recording / path)[1] for path in files_of(recording) if path.suffix == ".safetensors"}
    shutil.rmtree(recording, ignore_errors=True)
    first, copies, files = {}, {}, {}
    for path in files_of(folder):
        (recording / path).parent.mkdir(parents=True, exist_ok=True)
        same = first.setdefault((folder / path).read_bytes(), path)
        if same != path:
            copies[str(path)] = str(same)
        elif path.suffix == ".safetensors":
            files[path] = read(folder / path)
        else:
            shutil.copyfile(folder / path, recording / path)
    of = describer()
    whole = {path: all(of.generated(*item) for item in tensors.items()) for path, (_, tensors) in files.items()}
    for path in sorted(files, key=lambda p: (not whole[p], p)):  # those that need no other come first
        description, kept = of.describe(path, *files[path])
        depths = dict(metadata=0, generated=2, renamed=2, rebuilt=1, recorded=0)
        rows = [f"\n {json.dumps(k)}: {text_of(v, depths[k], chr(10) + ' ')}" for k, v in description.items() if v]
        (recording / f"{path}.json").write_text("{" + ",".join(rows) + "\n}\n")
        old, rounding = before.get(path, {}), oracle.roundings.get(folder / path, 0)
        for name in kept.keys() & old.keys():
            if not between(name, old[name], kept[name], rounding):
                kept[name] = old[name]
        if kept:
            save_file(kept, recording / path)
    (recording / "copies.json").write_text(json.dumps(copies, indent=1) + "\n")
    for path in sorted(recording.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


# --- comparing ---------------------------------------------------------------------------------------------------------


def between(name, tensor, now, rounding):
    """What is between a tensor and itself made anew, beyond rounding where it is not generated; or nothing."""
    if (tensor.dtype, tensor.shape) != (now.dtype, now.shape):
        return f"{name} is {tensor.dtype} {list(tensor.shape)}, now {now.dtype} {list(now.shape)}"
    if oracle.content(tensor) == oracle.content(now):
        return None
    if oracle.content(now) in oracle.recipes:
        return f"{name} is generated, but with other numbers"
    relative = ((tensor.double() - now.double()).norm() / now.double().norm()).item()
    if now.is_floating_point() and relative <= rounding:
        return None
    return f"{name} differs by {relative:.2g} (relative L2), which is more than {rounding}"


def differences(path, expanded, made):
    """What a file of the recording has otherwise than the file made anew."""
    if path.suffix == ".safetensors":
        (facts, tensors), (facts_now, tensors_now) = read(expanded), read(made)
        if facts != facts_now:
            return [f"metadata {facts}, now {facts_now}"]
        if tensors.keys() != tensors_now.keys():
            return [f"other tensors: {sorted(tensors.keys() ^ tensors_now.keys())[:5]}"]
        return [between(k, tensors[k], now, oracle.roundings.get(made, 0)) for k, now in tensors_now.items()]
    if path.suffix in (".png", ".jpg"):
        with Image.open(expanded) as picture, Image.open(made) as now:
            facts, facts_now = [(p.size, p.mode, p.getpalette(), dict(p.getexif())) for p in (picture, now)]
            if facts != facts_now:
                return [f"{facts}, now {facts_now}"]
            furthest = numpy.abs(numpy.asarray(picture).astype(int) - numpy.asarray(now)).max()
        return [] if furthest <= (path.suffix == ".jpg") else [f"pixels that differ by {furthest}"]
    if path.suffix == ".model":
        return [] if expanded.read_bytes() == made.read_bytes() else ["other bytes"]
    versions = re.compile(r'"(_diffusers_version|transformers_version)": "[^"]*"')
    text, text_now = [versions.sub("", p.read_text()) for p in (expanded, made)]
    return [] if text == text_now else ["other text"]


def compare(name, expanded):
    """Says what differs; true if nothing does."""
    with tempfile.TemporaryDirectory() as temporary:
        made = pathlib.Path(temporary) / name
        run(name, made)
        paths, paths_now = {*files_of(expanded)}, {*files_of(made)}
        faults = [f"{p} is in one of them only" for p in sorted(paths ^ paths_now)]
        for path in sorted(paths & paths_now):
            faults += [f"{path}: {fault}" for fault in differences(path, expanded / path, made / path) if fault]
    if not faults:
        print(f"tests/recorded/{name} is what {name}.py writes: {len(paths)} files")
        return True
    print(*faults, sep="\n")
    print(f"tests/recorded/{name} is not what {name}.py writes; where the script is right, record anew:\n"
          f"    scripts/record.sh {name}")
    return False


def record(name):
    with tempfile.TemporaryDirectory() as temporary:
        run(name, pathlib.Path(temporary) / name)
        write(pathlib.Path(temporary) / name, RECORDED / name)
    size = sum(p.stat().st_size for p in (RECORDED / name).rglob("*") if p.is_file())
    print(f"tests/recorded/{name}: {size / 1000:.0f} kB", flush=True)


match sys.argv[1:]:
    case ["record", *names]:
        for name in names or sorted(p.name for p in RECORDED.iterdir() if p.is_dir()):
            record(name)
    case ["compare", name, expanded]:
        sys.exit(not compare(name, pathlib.Path(expanded)))
    case _:
        sys.exit(__doc__)
