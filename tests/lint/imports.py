"""Check that no import circle has more than three files: `python tests/lint/imports.py [--list] [crate ...]`.

A crate is the folder of a `Cargo.toml`. An import of `room::Name` is followed through the `mod.rs` of the room to the
file that defines `Name`, so a circle cannot hide behind a re-export. Tests and fuzz harnesses do not count.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import TypeAlias

from rust_text import code_alone

LIMIT = 3
# Steps over imports of imports, which end here where they go round.
LONGEST = 16
CRATES = ("tachyon", "tachyon-macros", "tachyon-py")
SKIPPED = re.compile(r"(^|/)(tests|fuzz|loom)(/|\.rs$)|_tests?\.rs$")
TOKEN = re.compile(r"::|[{},*]|\bas\b|\w+")
# `pub(crate) use a::{b, c as d};`, and not the `use<'_>` of a type.
USE = re.compile(r"\buse\s+([^;]+);")
PATH = re.compile(r"(?<![\w:])\w+(?:::\w+)+")
DEFINES = r"\b(?:struct|enum|union|fn|trait|const|type|static|mod|macro_rules!)\s+(?:r#)?{}\b"
CFG = re.compile(r"#!?\[\s*cfg\s*\(")
CFG_TOKEN = re.compile(r"[\w.-]+|[(),=]|\"\"")
ITEM = re.compile(
    r"\s*(?:pub(?:\s*\([^)]*\))?\s+)?(?:default\s+|const\s+|async\s+|unsafe\s+|extern\s+(?:\"\"\s+)?)*"
    r"(?:use|mod|fn|struct|enum|union|trait|impl|const|static|type|extern|macro_rules)\b"
)
# Set by tests, fuzzers and models alone.
UNSET = {"test", "fuzzing", "loom"}

Module: TypeAlias = tuple[str, ...]
Edges: TypeAlias = dict[Module, set[Module]]


def closing(text: str, at: int) -> int:
    """Return the place after the bracket that closes the one at `at`."""
    depth = 0
    for place in range(at, len(text)):
        if text[place] in "([{":
            depth += 1
        elif text[place] in ")]}":
            depth -= 1
            if depth == 0:
                return place + 1
    return len(text)


def possible(condition: str) -> bool:
    """Say whether `condition`, the inside of a `cfg`, can hold in a build without the cfgs of `UNSET`."""
    tokens: list[str] = CFG_TOKEN.findall(condition)
    at = 0

    def parse() -> bool | None:
        """Return the value of a predicate, or nothing if it depends on the build."""
        nonlocal at
        name = tokens[at]
        at += 1
        if at < len(tokens) and tokens[at] == "=":
            at += 2
            return None
        if at == len(tokens) or tokens[at] != "(":
            return False if name in UNSET else None
        at += 1
        inside: list[bool | None] = []
        while tokens[at] != ")":
            inside.append(parse())
            at += tokens[at] == ","
        at += 1
        if name == "not":
            return None if inside[0] is None else inside[0] is False
        # One part decides an `any` if it holds, and an `all` if it does not.
        decisive = name == "any"
        if decisive in inside:
            return decisive
        return None if None in inside else not decisive

    return parse() is not False


def item_end(text: str, at: int) -> int:
    """Return the place after the item, field, statement or arm that begins at `at`."""
    while attribute := re.compile(r"\s*#\[").match(text, at):
        at = closing(text, attribute.end() - 1)
    is_item = ITEM.match(text, at)
    is_use = is_item is not None and is_item[0].endswith("use")
    while at < len(text):
        if text[at] in "([{":
            ends = text[at] == "{" and not is_use
            at = closing(text, at)
            if ends:
                return at
        elif text[at] == ";" or (text[at] == "," and not is_item):
            return at + 1
        elif text[at] in ")]}":
            return at
        else:
            at += 1
    return at


def shipped(source: str) -> str:
    """Return the code of `source` without comments, literals, and items that only tests, fuzzers and models build."""
    text = code_alone(source)
    kept: list[str] = []
    at = 0
    for cfg in CFG.finditer(text):
        if cfg.start() < at:
            continue
        end = closing(text, cfg.end() - 1)
        if possible(text[cfg.end() : end - 1]):
            continue
        kept.append(text[at : cfg.start()])
        after = closing(text, text.index("[", cfg.start()))
        at = len(text) if cfg[0].startswith("#!") else item_end(text, after)
    return "".join([*kept, text[at:]])


def use_paths(tree: str) -> list[tuple[Module, str]]:
    """Return each path of a use tree with the name that it gets."""
    words = TOKEN.findall(tree)
    found: list[tuple[Module, str]] = []

    def walk(at: int, prefix: Module) -> int:
        path = prefix
        while at < len(words):
            word = words[at]
            if word == "{":
                at += 1
                while words[at] != "}":
                    at = walk(at, path)
                    at += words[at] == ","
                return at + 1
            if word in {",", "}"}:
                break
            if word == "as":
                found.append((path, words[at + 1]))
                return at + 2
            if word != "::":
                path = path if word == "self" and path else (*path, word)
            at += 1
        found.append((path, path[-1]))
        return at

    walk(0, ())
    return found


class Crate:
    """The modules of one crate and the names that each one imports."""

    def __init__(self, sources: dict[str, str]) -> None:
        """Take the sources by their path below `src`."""
        self.files = {self.module(file): file for file in sorted(sources)}
        self.text = {module: shipped(sources[file]) for module, file in self.files.items()}
        self.names: dict[Module, dict[str, Module]] = {}
        self.imports: dict[Module, list[Module]] = {}
        self.paths: dict[Module, list[Module]] = {}
        for module, text in self.text.items():
            names: dict[str, Module] = {}
            imports: list[Module] = []
            for tree in USE.findall(text):
                for path, name in use_paths(tree):
                    imports.append(path)
                    names["*" + "::".join(path) if name == "*" else name] = path
            self.names[module], self.imports[module] = names, imports
        for module in self.text:
            found = (tuple(path.split("::")) for path in PATH.findall(self.body(module)))
            self.paths[module] = [self.spelled_out(module, path) for path in found]
        self.resolve = cache(self.resolve_once)

    @classmethod
    def at(cls, root: Path) -> Crate:
        """Read the crate in the folder `root`."""
        files = {file.relative_to(root / "src").as_posix(): file.read_text() for file in (root / "src").rglob("*.rs")}
        if not files:
            message = f"{root}: no crate, it has no src/*.rs"
            raise SystemExit(message)
        return cls(files)

    @staticmethod
    def module(file: str) -> Module:
        """Return the path of the module in `file`, without `crate`."""
        parts = tuple(file.removesuffix(".rs").split("/"))
        return parts[:-1] if parts[-1] in {"mod", "lib", "main"} else parts

    def body(self, module: Module) -> str:
        """Return the code of `module` without its imports."""
        return USE.sub("", self.text[module])

    def spelled_out(self, module: Module, path: Module) -> Module:
        """Return `path` with the path of its first name, where an import gave that name."""
        imported = self.names[module].get(path[0])
        return path if imported is None or imported[-1] == "*" else (*imported, *path[1:])

    def resolve_once(self, module: Module, path: Module, depth: int = 0) -> Module | None:
        """Return the module that defines `path` as seen from `module`, or nothing for a path of another crate."""
        begin = self.begin(module, path)
        if begin is None or depth > LONGEST:
            return None
        here, rest = begin
        for at, name in enumerate(rest):
            if (*here, name) in self.files:
                here = (*here, name)
                continue
            imported = self.names.get(here, {}).get(name)
            if imported is not None and imported != path:
                return self.resolve(here, (*imported, *rest[at + 1 :]), depth + 1) or here
            return here if self.defines(here, name) else self.behind_glob(here, name, depth) or here
        return here

    def begin(self, module: Module, path: Module) -> tuple[Module, Module] | None:
        """Return the module at which `path` begins, and the rest of it; nothing for a path of another crate."""
        if path[0] == "crate":
            return (), path[1:]
        if path[0] in {"super", "self"}:
            steps = next((at for at, name in enumerate(path) if name not in {"super", "self"}), len(path))
            up = path[:steps].count("super")
            return module[: max(len(module) - up, 0)], path[steps:]
        return (module, path) if (*module, path[0]) in self.files else None

    def behind_glob(self, module: Module, name: str, depth: int) -> Module | None:
        """Return the module from which a glob import of `module` takes `name`."""
        for glob, target in self.names.get(module, {}).items():
            room = target[:-1]
            there = self.resolve(module, room, depth + 1) if glob.startswith("*") and room else None
            if there is not None and (self.defines(there, name) or name in self.names.get(there, {})):
                return self.resolve(module, (*room, name), depth + 1) or there
        return None

    def defines(self, module: Module, name: str) -> bool:
        """Say whether the code of `module` defines `name`."""
        return re.search(DEFINES.format(re.escape(name)), self.text.get(module, "")) is not None

    def edges(self) -> Edges:
        """Return the modules that each module imports from."""
        edges: Edges = {}
        for module, file in self.files.items():
            if SKIPPED.search(file):
                continue
            imported = {self.resolve(module, path) for path in self.imports[module]}
            named = {self.resolve(module, path) for path in self.paths[module]}
            if file.endswith(("mod.rs", "lib.rs")):
                # A re-export is no use: an import of the name is followed to its file.
                imported = {
                    to for to in imported if to is None or to[: len(module)] != module or self.uses_itself(module, to)
                }
            edges[module] = {
                to for to in imported | named if to is not None and to != module and not SKIPPED.search(self.files[to])
            }
        return edges

    def uses_itself(self, module: Module, to: Module) -> bool:
        """Say whether the code of `module`, beside its re-exports, names something of `to`."""
        body = self.body(module)
        names = [name for name, path in self.names[module].items() if self.resolve(module, path) == to]
        return any(re.search(rf"\b{re.escape(name)}\b", body) for name in names if not name.startswith("*"))


def circles(edges: Edges) -> list[list[Module]]:
    """Return each set of more than one module that all reach each other, the largest first."""

    def reached(node: Module) -> set[Module]:
        seen: set[Module] = set()
        ahead = [node]
        while ahead:
            new = edges.get(ahead.pop(), set()) - seen
            seen |= new
            ahead += new
        return seen

    reach = {node: reached(node) for node in edges}
    found = {frozenset(to for to in reach[node] if node in reach.get(to, ())) for node in edges}
    return sorted((sorted(circle) for circle in found if len(circle) > 1), key=lambda circle: (-len(circle), circle))


def main() -> int:
    """Check the crates that are named, or all."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--list"]
    failed = False
    for name in arguments or CRATES:
        edges = Crate.at(Path(name)).edges()
        for circle in circles(edges):
            if len(circle) > LIMIT or "--list" in sys.argv:
                failed |= len(circle) > LIMIT
                print(f"{name}: a circle of {len(circle)} files")
                for module in circle:
                    inside = sorted("::".join(to) or "crate" for to in edges[module] if to in circle)
                    print(f"  {'::'.join(module) or 'crate'} -> {', '.join(inside)}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
