"""Check the prose of comments, documents, help and error texts: `python tests/lint/prose.py [path ...]`.

Four rules. No sentence begins with `Who`, `Whose`, `What` or `Which`, unless it is a question. `somebody`, `nobody`,
`whoever` and `whatever` appear nowhere. No line is longer than 120 columns. No name of `retired.toml` comes back. Words
in backquotes are names and no prose.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rust_text import Kind, pieces, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

COLUMNS = 120
VAGUE = re.compile(r"\b(?:(?:some|no)body|who(?:m|so)?ever|whatever)\b", re.IGNORECASE)
# A sentence begins a block, or follows the end of another one and a space.
END = r"[.!?](?=[)\"'*_\]]*(?:\s|$))"
SENTENCE = re.compile(
    rf"(?:^|(?<=[.!?:]\s)|(?<=[.!?][)\"'*_]\s))[(\"'*_\[]*(Who|Whose|What|Which)\b(?!-)(.*?)(?:({END})|$)"
)
CODE_SPAN = re.compile(r"(`+)(?!`)(.{1,100}?)(?<!`)\1(?!`)")
LIST_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+|^\s*#+\s+|^\s*>\s?")
FENCE = re.compile(r"^\s*(?:>\s?)?(```+|~~~+)\s*([\w-]*)")
LINK = re.compile(r"https?://\S+")
TABLE_ROW = re.compile(r"\s*(?://[/!]\s*|#\s*)?\|")
IDENTIFIER = re.compile(r"\b[A-Za-z_]\w*\b")
HASH_COMMENT = re.compile(r"(?:^|(?<=\s))#+(?:\s+(.*))?$")
QUOTED = re.compile(r"\"((?:\\.|[^\"\\])*)\"|'([^']*)'")
HASHED = {".toml", ".sh", ".yml", ".yaml", ".ini", ".cfg", ".txt"}
CHECKED = {".rs", ".py", ".pyi", ".md"} | HASHED
CHECKED_NAMES = {"Makefile", "run", ".gitignore"}
# Bytes for fuzzers, generated tables, programs whose messages name their lines, and the faults of the tests.
SKIPPED = ("tests/fuzz/corpus/", "benches/results/", "tests/macros/ui/", "tests/lint/test_prose.py")
# The history names what was renamed, and the table itself does.
HISTORY = {"CHANGELOG.md", "retired.toml"}
RETIRED = Path(__file__).with_name("retired.toml")
# Fewer words in a string are a name or a key.
WORDS = 3


class Line(NamedTuple):
    """A line of prose and its number in the file."""

    number: int
    text: str


class Block:
    """Lines of prose that are read as one text."""

    def __init__(self, lines: Iterable[Line]) -> None:
        """Take the lines, of which spaces at the ends and between words do not count."""
        self.lines = [Line(number, " ".join(text.split())) for number, text in lines]

    @property
    def text(self) -> str:
        """The lines as one."""
        return " ".join(line.text for line in self.lines)

    @property
    def prose(self) -> str:
        """The text, with each code span as a name of the same length."""
        return CODE_SPAN.sub(lambda span: "`" + "x" * (len(span[0]) - 2) + "`", self.text)

    def line_at(self, place: int) -> int:
        """Return the number of the line that holds the character at `place` of the text."""
        for line in self.lines:
            if place <= len(line.text):
                return line.number
            place -= len(line.text) + 1
        return self.lines[-1].number


def fenced_comment(language: str, text: str) -> str | None:
    """Return the comment in a line of an example."""
    if language in {"text", "console", "json"}:
        return None
    marker = r"#" if language in {"python", "py", "sh", "bash", "toml", "make", "ini"} else r"//[/!]?"
    found = re.search(rf"(?:^|\s){marker}\s+(.*)", text)
    return found[1] if found else None


def paragraphs(lines: Iterable[Line]) -> Iterator[Block]:
    """Split Markdown into paragraphs, list items, headings, cells, and the comments of its examples."""
    held: list[Line] = []
    fence = language = ""
    for line in lines:
        found = FENCE.match(line.text)
        if found and (not fence or (found[1].startswith(fence) and not found[2])):
            yield Block(held)
            held = []
            fence, language = ("", "") if fence else (found[1], found[2])
        elif fence:
            comment = fenced_comment(language, line.text)
            if comment:
                yield Block([Line(line.number, comment)])
        else:
            stripped = line.text.strip()
            if not stripped or stripped.startswith("|") or LIST_ITEM.match(line.text):
                yield Block(held)
                held = []
            if stripped.startswith("|"):
                for cell in re.split(r"(?<!\\)\|", stripped.strip("|")):
                    yield Block([Line(line.number, cell)])
            elif stripped:
                held.append(Line(line.number, LIST_ITEM.sub("", line.text)))
                if stripped.startswith("#"):
                    yield Block(held)
                    held = []
    yield Block(held)


def string(first: int, text: str, *, over_lines: bool) -> Iterator[Block]:
    """Yield the blocks of a string that begins in line `first`, if it has enough words."""
    if len(text.split()) >= WORDS:
        yield from paragraphs(Line(first + at * over_lines, line) for at, line in enumerate(text.splitlines()))


def runs(comments: Iterable[tuple[Line, bool]]) -> Iterator[Block]:
    """Join comments in lines of their own that follow each other; a comment behind code is a block by itself."""
    held: list[Line] = []
    for line, alone in comments:
        if held and (not alone or line.number != held[-1].number + 1):
            yield from paragraphs(held)
            held = []
        if alone:
            held.append(line)
        else:
            yield Block([line])
    yield from paragraphs(held)


def rust(source: str) -> Iterator[Block]:
    """Yield the comments of Rust code and the texts in its strings."""
    comments: list[tuple[Line, bool]] = []
    number = 1
    for piece in pieces(source):
        if piece.kind is Kind.LINE:
            alone = not source[source.rfind("\n", 0, piece.start) + 1 : piece.start].strip()
            comments.append((Line(number, re.sub(r"^//+!? ?", "", piece.text)), alone))
        elif piece.kind is Kind.BLOCK:
            inside = piece.text[2:].removesuffix("*/").lstrip("*!")
            yield from paragraphs(
                Line(number + at, re.sub(r"^\s*\*(?: |$)", "", line)) for at, line in enumerate(inside.splitlines())
            )
        elif piece.kind is Kind.STRING:
            yield from string(number, value(piece.text), over_lines="\n" in piece.text)
        number += piece.text.count("\n")
    yield from runs(comments)


def python(source: str) -> Iterator[Block]:
    """Yield the comments of Python code and the texts in its strings."""
    comments: list[tuple[Line, bool]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            text = re.sub(r"^#+:? ?", "", token.string)
            comments.append((Line(token.start[0], text), not token.line[: token.start[1]].strip()))
    yield from runs(comments)
    inner: set[ast.AST] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            inner.update(node.values)
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield from string(node.lineno, "".join(map(str, parts)), over_lines=node.end_lineno != node.lineno)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inner:
            yield from string(node.lineno, node.value, over_lines=node.end_lineno != node.lineno)


def hashed(source: str) -> Iterator[Block]:
    """Yield the comments and the quoted texts of files whose comments begin with a hash, help texts among them."""
    comments: list[tuple[Line, bool]] = []
    for number, text in enumerate(source.splitlines(), 1):
        found = HASH_COMMENT.search(text)
        code = text[: found.start()] if found else text
        if found:
            comments.append((Line(number, found[1] or ""), not code.strip()))
        for quoted in QUOTED.finditer(code):
            yield from string(number, quoted[1] or quoted[2] or "", over_lines=False)
    yield from runs(comments)


def blocks(file: Path, source: str) -> Iterator[Block]:
    """Yield the prose of `file`."""
    if file.suffix == ".rs":
        return rust(source)
    if file.suffix in {".py", ".pyi"}:
        return python(source)
    if file.suffix == ".md":
        return paragraphs(Line(number, text) for number, text in enumerate(source.splitlines(), 1))
    return hashed(source)


def too_long(file: Path, source: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are too long. Links and rows of tables cannot be broken; code with hashes is let be."""
    has_hashes = file.suffix not in {".rs", ".py", ".pyi", ".md"}
    for number, text in enumerate(source.splitlines(), 1):
        if len(LINK.sub("", text)) <= COLUMNS or TABLE_ROW.match(text):
            continue
        if not has_hashes or HASH_COMMENT.search(text):
            yield number, f"{len(text)} columns, the limit is {COLUMNS}"


def retired_names(file: Path, source: str, retired: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Yield each name in `file` and in its path that has another name now."""
    if not retired or file.name in HISTORY:
        return
    for name in IDENTIFIER.findall(file.with_suffix("").as_posix()):
        if name in retired:
            yield 1, f"`{name}` is called `{retired[name]}`: rename the file"
    for number, text in enumerate(source.splitlines(), 1):
        for name in IDENTIFIER.findall(text):
            if name in retired:
                yield number, f"`{name}` is called `{retired[name]}`"


def faults(file: Path, source: str, retired: dict[str, str] | None = None) -> list[tuple[int, str]]:
    """Return each fault of `file`: its line and a text."""
    found = [*too_long(file, source), *retired_names(file, source, retired or {})]
    for block in blocks(file, source):
        prose = block.prose
        vague = VAGUE.finditer(prose)
        found += [(block.line_at(word.start()), f"name the subject: `{word[0]}`") for word in vague]
        for sentence in SENTENCE.finditer(prose):
            if sentence[3] != "?":
                begin = sentence.start(1)
                found.append((block.line_at(begin), f"begin with a named subject: {block.text[begin : begin + 60]}"))
    return sorted(found)


def checked(paths: list[str]) -> Iterator[Path]:
    """Yield the files to check: those of the repository at `paths`, new files among them."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    for name in sorted(set(listed.stdout.split("\0"))):
        file = Path(name)
        if file.is_file() and not name.startswith(SKIPPED) and (file.suffix in CHECKED or file.name in CHECKED_NAMES):
            yield file


def main() -> int:
    """Check the paths that are named, or all."""
    retired = tomllib.loads(RETIRED.read_text())["names"]
    failed = files = 0
    for file in checked(sys.argv[1:]):
        files += 1
        for line, fault in faults(file, file.read_text(), retired):
            print(f"{file}:{line}: {fault}")
            failed += 1
    if not files:
        print("no file to check", file=sys.stderr)
        return 2
    if failed:
        print(f"{failed} faults")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
