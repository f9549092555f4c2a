"""Check the prose of comments, documents, help and error texts: `python tests/lint/prose.py [path ...]`.

Three rules, of CONTRIBUTING.md. No sentence begins with Who, Whoever, Whatever, What or Which, unless it is a question.
The words of `VAGUE` appear nowhere. No line is longer than 120 columns.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = 120
VAGUE = re.compile(r"\b(?:some|no)body\b|\bwho(?:so)?ever\b|\bwhatever\b", re.IGNORECASE)
# A sentence begins a block, or follows an end of a sentence and a space.
SENTENCE = re.compile(r"(?:^|(?<=[.!?:] )|(?<=[.!?][)\"'`*] ))[(\"'*_]*(Whoever|Whatever|What|Whose|Who|Which)\b([^.!?]*)([.!?]|$)")
LIST_ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+|^\s*#+\s+|^\s*>\s?")
RUST_STRING = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
CHECKED = {".rs", ".py", ".pyi", ".md", ".toml", ".sh", ".yml"}
SKIPPED = ("tests/fuzz/corpus/", "benches/results/", "tests/macros/ui/", "LICENSE")


class Block:
    """Lines of prose that are read as one text, and the number of the first."""

    def __init__(self, line: int, text: str = "") -> None:
        self.line = line
        self.lines = [text] if text else []

    @property
    def text(self) -> str:
        """The lines as one."""
        return re.sub(r"\s+", " ", " ".join(self.lines)).strip()


def paragraphs(numbered: list[tuple[int, str]]) -> Iterator[Block]:
    """Split Markdown into paragraphs, list items, headings and cells; skip code and links."""
    block = Block(0)
    fenced = False
    for line, text in numbered:
        if text.lstrip().startswith("```"):
            fenced = not fenced
            yield block
            block = Block(0)
            continue
        if fenced:
            continue
        if not text.strip() or LIST_ITEM.match(text) or text.lstrip().startswith("|"):
            yield block
            block = Block(0)
        if text.lstrip().startswith("|"):
            for cell in text.strip().strip("|").split("|"):
                yield Block(line, cell.strip())
        elif text.strip():
            block.line = block.line or line
            block.lines.append(LIST_ITEM.sub("", text))
            if text.lstrip().startswith("#"):
                yield block
                block = Block(0)
    yield block


def rust(source: str) -> Iterator[Block]:
    """Yield the comments of Rust code by blocks, and the texts in its strings."""
    comment: list[tuple[int, str]] = []
    code: list[str] = []
    for line, text in enumerate(source.splitlines(), 1):
        found = re.match(r"\s*//[/!]? ?(.*)", text)
        trailing = None if found else re.search(r"(?:^|[;,{}()\s])\s+// (.*)$", text)
        if found:
            comment.append((line, found[1]))
            code.append("")
            continue
        yield from paragraphs(comment)
        comment = []
        if trailing:
            yield Block(line, trailing[1])
        code.append(text[: trailing.start()] if trailing else text)
    yield from paragraphs(comment)
    joined = "\n".join(code)
    for string in RUST_STRING.finditer(joined):
        if string[1].count(" ") > 1:
            text = re.sub(r"\\\n\s*", "", string[1])
            yield Block(joined.count("\n", 0, string.start()) + 1, text)


def python(source: str) -> Iterator[Block]:
    """Yield the comments of Python code by blocks, and the texts in its strings."""
    comment: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if comment and token.start[0] != comment[-1][0] + 1:
                yield from paragraphs(comment)
                comment = []
            comment.append((token.start[0], token.string.lstrip("# ")))
        elif token.type == tokenize.STRING and token.string.count(" ") > 1:
            text = token.string.lstrip("rbfRBF").strip("\"'")
            yield from paragraphs([(token.start[0] + at, line) for at, line in enumerate(text.splitlines())])
    yield from paragraphs(comment)


def hashed(source: str) -> Iterator[Block]:
    """Yield the comments of files whose comments begin with a hash."""
    comment: list[tuple[int, str]] = []
    for line, text in enumerate(source.splitlines(), 1):
        found = re.search(r"(?:^|\s)##?\s(.*)", text)
        if found and (not comment or comment[-1][0] == line - 1):
            comment.append((line, found[1]))
        else:
            yield from paragraphs(comment)
            comment = [(line, found[1])] if found else []
    yield from paragraphs(comment)


def blocks(file: Path, source: str) -> Iterator[Block]:
    """Yield the prose of `file`."""
    if file.suffix == ".rs":
        return rust(source)
    if file.suffix in {".py", ".pyi"}:
        return python(source)
    if file.suffix == ".md":
        return paragraphs(list(enumerate(source.splitlines(), 1)))
    return hashed(source)


def faults(file: Path) -> Iterator[tuple[int, str]]:
    """Yield each fault of `file`: its line and what it is."""
    source = file.read_text()
    for line, text in enumerate(source.splitlines(), 1):
        prose = file.suffix in {".rs", ".py", ".pyi", ".md"} or text.lstrip().startswith("#")
        if prose and len(text) > COLUMNS and not re.search(r"https?://|^\|", text.strip()):
            yield line, f"{len(text)} columns, the limit is {COLUMNS}"
    for block in blocks(file, source):
        text = block.text
        for word in VAGUE.finditer(text):
            yield block.line, f"name the subject: `{word[0]}`"
        for sentence in SENTENCE.finditer(text):
            if sentence[3] != "?":
                yield block.line, f"begin with a named subject: `{(sentence[1] + sentence[2])[:60]}`"


def checked(paths: list[str]) -> Iterator[Path]:
    """Yield the files to check: those of the repository at `paths`."""
    listed = subprocess.run(["git", "ls-files", "--", *paths], capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        file = Path(name)
        if name.startswith(SKIPPED) or not file.is_file():
            continue
        if file.suffix in CHECKED or file.name in {"Makefile", "run"}:
            yield file


def main() -> int:
    """Check the paths that are named, or all."""
    failed = 0
    for file in checked(sys.argv[1:]):
        for line, fault in faults(file):
            print(f"{file}:{line}: {fault}")
            failed += 1
    if failed:
        print(f"{failed} faults")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
