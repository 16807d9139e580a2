"""photographs.py <table> <folder>: lays the table's photographs out of the unpacked packages in <folder> into training/
and held_out/, once the packages state the licences that the table gives."""

import csv
import fnmatch
import os
import pathlib
import re
import shutil
import sys


def stanzas(copyright):
    """The (pattern, licence) pairs of a file in Debian's machine-readable format, in their order."""
    pairs = []
    for stanza in re.split(r"\n\s*\n", copyright):
        fields = dict(re.findall(r"^(Files|License):((?:.*)(?:\n[ \t].*)*)", stanza, re.M))
        if "Files" in fields and "License" in fields:
            licence = fields["License"].strip().splitlines()[0]
            pairs += [(pattern, licence) for pattern in fields["Files"].split()]
    return pairs


def stated(file, pairs):
    """The licence that a package's copyright file gives for one of its files: the last pattern that matches counts."""
    found = [licence for pattern, licence in pairs if fnmatch.fnmatch(file, "*/" + pattern)]
    if not found:  # the package's folders may be named otherwise than the source's
        name = os.path.basename(file)
        found = [licence for pattern, licence in pairs if os.path.basename(pattern) == name]
    return found[-1] if found else None


def main(table, folder):
    folder = pathlib.Path(folder)
    with open(table, encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
                if row["use"] != "left out"]
    pairs = {}
    for package in {row["package"] for row in rows}:
        text = (folder / "unpacked" / package / "usr/share/doc" / package / "copyright").read_text(encoding="utf-8")
        pairs[package] = stanzas(text)
    names = {row["file"]: "-".join(pathlib.Path(row["file"]).parts[-2:]) for row in rows}
    for use in ("training", "held_out"):
        for found in sorted((folder / use).glob("*")):
            if found.name not in names.values():
                sys.exit(f"{found}: is none of the table's photographs, and would be lost; name another folder")
    for use in ("training", "held out"):
        target = folder / use.replace(" ", "_")
        fresh = folder / (target.name + ".part")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        chosen = [row for row in rows if row["use"] == use]
        for row in chosen:
            source = folder / "unpacked" / row["package"] / row["file"]
            if not source.is_file():
                sys.exit(f"{row['package']}: holds no {row['file']}; it is another version than the table's")
            licence = stated(row["file"], pairs[row["package"]])
            if row["package"].startswith("python3-"):  # in the documentation of each picture, not in this file
                licence = row["licence"]
            if licence != row["licence"]:
                sys.exit(f"{row['package']}: states {licence} for {row['file']}, but the table {row['licence']}")
            shutil.copyfile(source, fresh / names[row["file"]])
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
        print(f"{target}: {len(chosen)} photographs")


main(sys.argv[1], sys.argv[2])
