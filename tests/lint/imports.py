"""Check that no import circle has more than three files: `python tests/lint/imports.py [--list] [crate ...]`.

A crate is the folder of a `Cargo.toml`. An import of `room::Name` is followed through the `mod.rs` of the room to the
file that defines `Name`, so a circle cannot hide behind a re-export. Tests and fuzz harnesses do not count.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

LIMIT = 3
CRATES = ("tachyon", "tachyon-macros", "tachyon-py")
SKIPPED = re.compile(r"(^|/)(tests|fuzz|testing|loom)(/|\.rs$)|_tests?\.rs$|(^|/)(fuzz|tests)\.rs$")
TOKEN = re.compile(r"::|[{},*]|\bas\b|\w+")


def without_text(source: str) -> str:
    """Return `source` without comments, string contents and the unit tests at its end."""
    source = re.sub(r"//[^\n]*", "", source)
    source = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    source = re.sub(r'"(?:\\.|[^"\\])*"', '""', source, flags=re.DOTALL)
    return re.sub(r"#\[cfg\((?:all\()?(?:test|fuzzing|any\(test).*?\]\s*(?:pub(?:\([a-z]+\))? )?mod \w+ \{.*", "", source, flags=re.DOTALL)


def use_paths(tree: str) -> list[tuple[tuple[str, ...], str]]:
    """Return each path of a use tree with the name that it gets."""
    tokens = TOKEN.findall(tree)
    found: list[tuple[tuple[str, ...], str]] = []

    def walk(at: int, prefix: tuple[str, ...]) -> int:
        path = prefix
        while at < len(tokens):
            token = tokens[at]
            if token == "{":
                at += 1
                while tokens[at] != "}":
                    at = walk(at, path)
                    at += tokens[at] == ","
                return at + 1
            if token in {",", "}"}:
                break
            if token == "as":
                found.append((path, tokens[at + 1]))
                return at + 2
            if token != "::":
                path = path if token == "self" and path else (*path, token)
            at += 1
        found.append((path, path[-1]))
        return at

    walk(0, ())
    return found


class Crate:
    """The modules of one crate and the names that each one imports."""

    def __init__(self, root: Path) -> None:
        self.root = root / "src"
        self.files = {self.module(file): file for file in sorted(self.root.rglob("*.rs"))}
        self.text = {module: without_text(file.read_text()) for module, file in self.files.items()}
        self.names: dict[tuple[str, ...], dict[str, tuple[str, ...]]] = {}
        self.paths: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for module, text in self.text.items():
            names: dict[str, tuple[str, ...]] = {}
            paths: list[tuple[str, ...]] = []
            for tree in re.findall(r"\buse\s+([^;]+);", text):
                for path, name in use_paths(tree):
                    paths.append(path)
                    names["*" + "::".join(path) if name == "*" else name] = path
            rest = re.sub(r"\buse\s+[^;]+;", "", text)
            paths += [tuple(path.split("::")) for path in re.findall(r"\b(?:crate|super)(?:::\w+)+", rest)]
            self.names[module], self.paths[module] = names, paths
        self.resolve = cache(self.resolve_once)

    def module(self, file: Path) -> tuple[str, ...]:
        """Return the path of the module in `file`, without `crate`."""
        parts = file.relative_to(self.root).with_suffix("").parts
        return parts[:-1] if parts[-1] in {"mod", "lib", "main"} else parts

    def resolve_once(self, module: tuple[str, ...], path: tuple[str, ...], depth: int = 0) -> tuple[str, ...] | None:
        """Return the module that defines `path` as seen from `module`, or nothing for a path of another crate."""
        if depth > 16:
            return None
        here = module
        rest = list(path)
        if rest[0] == "crate":
            here = ()
            rest.pop(0)
        elif rest[0] in {"super", "self"}:
            while rest and rest[0] in {"super", "self"}:
                here = here[:-1] if rest.pop(0) == "super" else here
        elif (*here, rest[0]) not in self.files:
            return None
        while rest:
            name = rest.pop(0)
            if (*here, name) in self.files:
                here = (*here, name)
                continue
            names = self.names.get(here, {})
            if name in names and names[name] != path:
                return self.resolve(here, names[name], depth + 1) or here
            for glob, target in names.items():
                if glob.startswith("*"):
                    there = self.resolve(here, target[:-1], depth + 1)
                    if there is not None and re.search(rf"\b(?:struct|enum|fn|trait|const|type|static|macro_rules!)\s+{name}\b", self.text.get(there, "")):
                        return there
            return here
        return here

    def edges(self) -> dict[tuple[str, ...], set[tuple[str, ...]]]:
        """Return the modules that each module imports from."""
        edges: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        for module, paths in self.paths.items():
            if self.skipped(module):
                continue
            targets = {self.resolve(module, path) for path in paths}
            edges[module] = {to for to in targets if to is not None and to != module and not self.skipped(to)}
            if self.files[module].name in {"mod.rs", "lib.rs"}:
                # A re-export is no use: whoever imports the name is followed to its file.
                edges[module] = {to for to in edges[module] if to[: len(module)] != module or self.uses_itself(module, to)}
        return edges

    def uses_itself(self, module: tuple[str, ...], to: tuple[str, ...]) -> bool:
        """Say whether the code of `module`, beside its re-exports, names something of `to`."""
        body = re.sub(r"\buse\s+[^;]+;", "", self.text[module])
        names = [name for name, path in self.names[module].items() if self.resolve(module, path) == to]
        return any(re.search(rf"\b{re.escape(name)}\b", body) for name in names if not name.startswith("*"))

    def skipped(self, module: tuple[str, ...]) -> bool:
        """Say whether `module` is a test or a harness."""
        return SKIPPED.search(self.files[module].relative_to(self.root).as_posix()) is not None


def circles(edges: dict[tuple[str, ...], set[tuple[str, ...]]]) -> list[list[tuple[str, ...]]]:
    """Return the strongly connected components of more than one module (Tarjan's algorithm)."""
    index: dict[tuple[str, ...], int] = {}
    low: dict[tuple[str, ...], int] = {}
    stack: list[tuple[str, ...]] = []
    found: list[list[tuple[str, ...]]] = []

    def visit(node: tuple[str, ...]) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for to in edges.get(node, ()):
            if to not in index:
                visit(to)
                low[node] = min(low[node], low[to])
            elif to in stack:
                low[node] = min(low[node], index[to])
        if low[node] == index[node]:
            component: list[tuple[str, ...]] = []
            while True:
                component.append(stack.pop())
                if component[-1] == node:
                    break
            if len(component) > 1:
                found.append(sorted(component))

    sys.setrecursionlimit(10_000)
    for node in edges:
        if node not in index:
            visit(node)
    return sorted(found, key=len, reverse=True)


def main() -> int:
    """Check the crates that are named, or all."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--list"]
    failed = False
    for name in arguments or CRATES:
        edges = Crate(Path(name)).edges()
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
