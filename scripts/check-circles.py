#!/usr/bin/env python3
"""Checks that modules do not depend on each other in a circle.

For every module of every crate, the modules directly below it may use each other, each together
with everything below it, but not in a circle. A module's own parts may use what stands in the
module's file, and it may use them.

A dependency is a path in code that leads to a module of the same crate. The path is followed
through imports, public and private, renamed and with `*`, to the module that defines the name:
`use super::Thing` depends on the sibling from which the parent imports `Thing`. Modules with
`#[cfg(test)]` are left out, with everything below them, and so are imports with it.

    scripts/check-circles.py              checks all crates
    scripts/check-circles.py --list       also prints the dependencies between the modules of each crate's root
    scripts/check-circles.py --self-test  checks small crates with and without a circle

It needs Python 3.9.
"""

import collections
import graphlib
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# What is no code: comments, strings and characters. A lifetime (`'a`) is not a character.
BLANK = re.compile(
    r"""//[^\n]*
    |/\*(?:[^*]|\*(?!/))*\*/
    |\bb?r(?P<hashes>\#*)".*?"(?P=hashes)
    |"(?:[^"\\]|\\.)*"
    |'(?:[^'\\\n]|\\[^\n]+?)'""",
    re.VERBOSE | re.DOTALL,
)
ATTRIBUTES = r"(?P<attributes>(?:#\[(?:[^\[\]]|\[[^\[\]]*\])*\]\s*)*)"
VISIBILITY = r"(?:pub(?:\([^)]*\))?\s+)?"
MODULE = re.compile(ATTRIBUTES + VISIBILITY + r"\bmod\s+(?P<name>\w+)\s*(?P<rest>[;{])")
USE = re.compile(ATTRIBUTES + VISIBILITY + r"\buse\s+(?P<tree>[^;]*);")
ITEM = re.compile(r"\b(?:fn|struct|enum|union|trait|type|const|static|macro_rules!)\s+(\w+)")
PATH = re.compile(r"(?<!::)\b\w+(?:::\w+)+")
TESTS = re.compile(r"#\[cfg\((?:all\()?\s*test\b")


def leaves(tree):
    """The paths of one `use` tree, without braces."""
    head, brace, rest = tree.partition("{")
    if not brace:
        return [tree.strip()]
    parts, depth, start = [], 0, 0
    inner = rest.rsplit("}", 1)[0]
    for position, letter in enumerate(inner + ","):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            parts.append(inner[start:position].strip())
            start = position + 1
    return [path for part in parts if part for path in leaves(head.strip() + part)]


class Module:
    def __init__(self):
        self.text = ""
        self.names = {}  # Name of an import to its path.
        self.globs = []  # Paths of imports with `*`.
        self.uses = []  # Paths of all imports.
        self.items = set()


class Crate:
    """The modules that one root file declares, directly and indirectly."""

    def __init__(self, root):
        self.modules = {}
        self.read((), BLANK.sub('""', root.read_text(encoding="utf-8")), root.parent)

    def read(self, name, text, folder):
        """Adds a module and those that it declares. Files of the latter are in `folder`."""
        module = self.modules[name] = Module()
        position = 0
        while True:
            found = MODULE.search(text, position)
            module.text += text[position : found.start() if found else len(text)]
            if not found:
                break
            position = found.end()
            below = (*name, found["name"])
            body = ""
            if found["rest"] == "{":
                depth = 1
                while depth:
                    depth += {"{": 1, "}": -1}.get(text[position], 0)
                    position += 1
                body = text[found.end() : position - 1]
            if TESTS.search(found["attributes"]):
                continue
            if found["rest"] == ";":
                file = folder / (found["name"] + ".rs")
                body = BLANK.sub('""', file.read_text(encoding="utf-8"))
            self.read(below, body, folder / found["name"])
        for found in USE.finditer(module.text):
            if not TESTS.search(found["attributes"]):
                for leaf in leaves(found["tree"]):
                    self.imported(module, leaf)
        module.text = USE.sub("", module.text)
        module.items = set(ITEM.findall(module.text))

    @staticmethod
    def imported(module, leaf):
        path, _, alias = re.sub(r"\s+as\s+", " ", leaf).partition(" ")
        parts = path.replace("r#", "").split("::")
        if parts[-1] == "self" and len(parts) > 1:
            parts.pop()
        if parts[-1] == "*":
            parts.pop()
            module.globs.append(parts)
        else:
            module.names[alias or parts[-1]] = parts
        module.uses.append(parts)

    def look(self, name, part, seen):
        """What `part` means in the module `name`: a module, and whether `part` names the module
        itself or an item that it defines. `None` if the crate's files do not show it."""
        if (*name, part) in self.modules:
            return (*name, part), True
        if (name, part) in seen:
            return None
        seen = seen | {(name, part)}
        module = self.modules[name]
        if part in module.names:
            return self.follow(name, module.names[part], seen)
        if part in module.items:
            return name, False
        for path in module.globs:
            target = self.follow(name, path, seen)
            found = target and target[1] and self.look(target[0], part, seen)
            if found:
                return found
        return None

    def follow(self, name, path, seen=frozenset()):
        """Like `look`, for a path in the module `name`. `None` if it leads outside the crate."""
        at, parts = (name, True), list(path)
        if parts[0] == "crate":
            at = ((), True)
            parts.pop(0)
        elif parts[0] not in ("self", "super"):
            at = self.look(name, parts.pop(0), seen)
        while parts and parts[0] in ("self", "super"):
            at = (at[0][:-1], True) if parts.pop(0) == "super" else at
        for part in parts:
            # What stands below an item in a path is a part of the item.
            if at is None or not at[1]:
                break
            # A name that the files do not show was defined by a macro, here.
            at = self.look(at[0], part, seen) or (at[0], False)
        return at

    def dependencies(self):
        for name, module in self.modules.items():
            paths = module.uses + [path.split("::") for path in PATH.findall(module.text)]
            words = set(re.findall(r"\w+", module.text)) if module.globs else ()
            for path in module.globs:
                target = self.follow(name, path)
                shown = (word for word in words if target and self.look(target[0], word, frozenset()))
                paths += [[*path, word] for word in shown]
            for path in paths:
                used = self.follow(name, path)
                if used:
                    yield name, used[0]

    def arrows(self):
        """For each module, which of the modules directly below it use which others."""
        arrows = collections.defaultdict(lambda: collections.defaultdict(set))
        for user, used in self.dependencies():
            level = next((n for n, (a, b) in enumerate(zip(user, used)) if a != b), None)
            if level is not None:
                arrows[user[:level]][user[level]].add(used[level])
        return arrows

    def circles(self):
        """For each module below which there is a circle: its name, and the modules of one."""
        for parent, arrows in self.arrows().items():
            try:
                graphlib.TopologicalSorter(arrows).prepare()
            except graphlib.CycleError as error:
                yield parent, error.args[1]


def crates():
    """The root files of all crates: libraries and programs."""
    manifests = subprocess.run(
        ["git", "ls-files", "*Cargo.toml"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    for manifest in manifests:
        source = (ROOT / manifest).parent / "src"
        programs = sorted((source / "bin").glob("*.rs"))
        yield from filter(pathlib.Path.exists, [source / "lib.rs", source / "main.rs", *programs])


# Crates with two modules `a` and `b`, where `a` uses `b`. Each is a list of further code: of the
# root, of `a`, and of `b`.
USES = "use crate::b::Below;"
CIRCLES = {
    "path": ("", USES, "fn f(_: crate::a::Thing) {}"),
    "import": ("", USES, "use crate::a::Thing;"),
    "public re-export": ("pub use a::Thing;", USES, "use crate::Thing;"),
    "private import of the parent": ("use self::a::Thing;", USES, "use super::{Thing, other};"),
    "two imports in a row": ("use self::a::Thing as One; use One as Two;", USES, "use super::Two;"),
    "renamed import": ("use a::Thing as Other;", USES, "use super::Other;"),
    "renamed module": ("use self::a as c;", USES, "use crate::c::Thing;"),
    "renamed in use": ("", USES, "use super::a::{self as c}; fn f(_: c::Thing) {}"),
    "re-export with *": ("pub use self::a::*;", USES, "use crate::Thing;"),
    "import with *": ("use self::a::Thing;", USES, "use super::*; fn f(_: Thing) {}"),
    "tree without a head": ("", USES, "use {crate::a::Thing, std::fmt};"),
    "path below an import": ("use self::a::Thing;", USES, "use crate as top; fn f(_: top::Thing) {}"),
    "after unit tests": ("", "#[cfg(test)] mod tests { fn f() {} }" + USES, "use crate::a::Thing;"),
    "module called tests": ("", "pub mod tests { use crate::b::Below; }", "use crate::a::Thing;"),
    "inline module": ("", USES, "mod c { use super::super::a::Thing; }"),
    "visible in part": ("pub(crate) use a::Thing;", USES, "use crate::Thing;"),
}
NONE = {
    "one direction": ("use a::Thing;", USES, "fn f() {}"),
    "unit tests": ("", USES, "#[cfg(test)]\n#[allow(x)]\nmod tests { use crate::a::Thing; }"),
    "file of unit tests": ("", USES, "#[cfg(test)]\nmod tests;"),
    "import for unit tests": ("", USES, "#[cfg(test)]\nuse crate::a::Thing;"),
    "item of the parent": ("use a::Thing; pub fn item() {}", USES, "use super::item;"),
    "other crate": ("use a::Thing;", USES, "use std::a::Thing; fn f() { x::Thing::a() }"),
    "comments and strings": ("", USES, '/* use crate::a::Thing; */ fn f() { "crate::a::Thing"; }'),
    "glob of which nothing is used": ("use self::a::Thing;", USES, "use super::*; fn f() {}"),
}


def self_test():
    wrong = []
    for cases, expected in [(CIRCLES, True), (NONE, False)]:
        for name, (root, a, b) in cases.items():
            with tempfile.TemporaryDirectory() as folder:
                source = pathlib.Path(folder)
                (source / "lib.rs").write_text(f"mod a;\nmod b;\n{root}\n")
                (source / "a.rs").write_text(f"pub struct Thing;\n{a}\n")
                (source / "b.rs").write_text(f"pub struct Below;\n{b}\n")
                if any(Crate(source / "lib.rs").circles()) != expected:
                    wrong.append(f"{name}: {'no circle found' if expected else 'has no circle'}")
    if wrong:
        sys.exit("\n".join(f"check-circles: self-test: {line}" for line in wrong))
    print(f"check-circles: the self-test passed with {len(CIRCLES) + len(NONE)} crates")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    listed = sys.argv[1:] == ["--list"]
    if sys.argv[1:] and not listed:
        sys.exit("check-circles: usage: scripts/check-circles.py [--list | --self-test]")
    failed = False
    for root in crates():
        crate = Crate(root)
        name = root.relative_to(ROOT).as_posix().replace("/src/lib.rs", "")
        if listed:
            arrows = crate.arrows()[()]
            for user in sorted(arrows):
                print(f"{name}: {user} -> {', '.join(sorted(arrows[user]))}")
        for parent, circle in crate.circles():
            failed = True
            where = "::".join((name, *parent))
            print(f"check-circles: in {where}: {' <- '.join(circle)}", file=sys.stderr)
    if failed:
        sys.exit(1)
    print("check-circles: no circles")


if __name__ == "__main__":
    main()
