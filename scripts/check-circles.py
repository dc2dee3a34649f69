#!/usr/bin/env python3
"""Checks that modules do not depend on each other in a circle.

For every module of every crate, the modules directly below it may use each other, each together
with everything below it, but not in a circle. A dependency is a path in code outside tests that
begins with `crate`, `super` or `self`. A name that a module re-exports counts as the module that
defines it. A module's own parts may use what stands in the module's file, and it may use them.

    scripts/check-circles.py             checks all crates
    scripts/check-circles.py --list      also prints the dependencies between the modules of each crate's root
"""

import collections
import graphlib
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SKIPPED = {"tests", "main", "support"}


def code(path):
    """The code of a file before its unit tests, without comments."""
    text = re.split(r"#\[cfg\(test\)\]\n(?:#\[.*\]\n)*mod tests \{", path.read_text())[0]
    return re.sub(r"//.*", "", text)


def leaves(tree):
    """The paths of one `use` tree, without braces."""
    head, brace, rest = tree.partition("{")
    if not brace:
        return [re.sub(r"\s|\bas\b.*", "", tree)]
    parts, depth, start = [], 0, 0
    inner = rest.rsplit("}", 1)[0]
    for position, letter in enumerate(inner + ","):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            parts.append(inner[start:position].strip())
            start = position + 1
    return [path for part in parts if part for path in leaves(head.strip() + part)]


class Crate:
    def __init__(self, folder):
        self.modules = {}
        for path in sorted((folder / "src").rglob("*.rs")):
            name = path.relative_to(folder / "src").with_suffix("").parts
            if not SKIPPED.intersection(name):
                self.modules[() if name == ("lib",) else name] = code(path)
        self.exports = {}
        for module, text in self.modules.items():
            for tree in re.findall(r"\bpub(?:\([a-z ]+\))? use ([^;]*);", text):
                for path in leaves(tree):
                    found = self.module(module, path.split("::"))
                    if found and found != module:
                        self.exports[*module, path.split("::")[-1]] = found

    def absolute(self, module, parts):
        """The path from the crate's root; empty if it leads outside the crate."""
        if parts[0] == "crate":
            return tuple(parts[1:])
        while parts and parts[0] in ("self", "super"):
            module = module[:-1] if parts[0] == "super" else module
            parts = parts[1:]
        return (*module, *parts)

    def module(self, module, parts):
        """The module that a path names or in which its name is defined."""
        path = self.absolute(module, parts)
        for end in range(len(path), 0, -1):
            if path[:end] in self.modules:
                return self.exports.get(path[: end + 1], path[:end])
        return self.exports.get(path[:1], ())

    def dependencies(self):
        for module, text in self.modules.items():
            trees = re.findall(r"\buse ((?:crate|super|self)::[^;]*);", text)
            paths = [path for tree in trees for path in leaves(tree)]
            rest = re.sub(r"\buse [^;]*;", "", text)
            paths += re.findall(r"\b(?:crate|super)(?:::\w+)+", rest)
            for path in paths:
                yield module, self.module(module, path.split("::"))

    def arrows(self):
        """For each module, which of the modules directly below it use which others."""
        arrows = collections.defaultdict(lambda: collections.defaultdict(set))
        for user, used in self.dependencies():
            level = next((n for n, (a, b) in enumerate(zip(user, used)) if a != b), None)
            if level is not None:
                arrows[user[:level]][user[level]].add(used[level])
        return arrows


def main():
    listed = "--list" in sys.argv[1:]
    manifests = subprocess.run(
        ["git", "ls-files", "*Cargo.toml"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    failed = False
    for folder in (ROOT / manifest for manifest in manifests):
        if not (folder.parent / "src/lib.rs").exists():
            continue
        name = folder.parent.relative_to(ROOT)
        for parent, arrows in Crate(folder.parent).arrows().items():
            if listed and not parent:
                for user in sorted(arrows):
                    print(f"{name}: {user} -> {', '.join(sorted(arrows[user]))}")
            try:
                graphlib.TopologicalSorter(arrows).prepare()
            except graphlib.CycleError as error:
                failed = True
                where = "::".join((str(name), *parent))
                print(f"check-circles: in {where}: {' <- '.join(error.args[1])}", file=sys.stderr)
    if failed:
        sys.exit(1)
    print("check-circles: no circles")


if __name__ == "__main__":
    main()
