"""Split Rust code into code, comments and literals, for the checks beside this file."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kind(Enum):
    """The kind of a piece."""

    CODE = auto()
    LINE = auto()
    BLOCK = auto()
    STRING = auto()
    CHARACTER = auto()


class Piece(NamedTuple):
    """A part of the source: the pieces of a file, one after the other, are the file."""

    kind: Kind
    start: int
    text: str


OPENING = re.compile(r"""//|/\*|(?<!\w)[bc]?r(#*)"|"|'""")
STRING = re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL)
# A lifetime has no second quote.
CHARACTER = re.compile(r"'(?:\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.)|[^\\'\n])'")
COMMENT_EDGE = re.compile(r"/\*|\*/")


def end(source: str, found: re.Match[str]) -> tuple[Kind, int]:
    """Return the kind of the piece that `found` opens and the place of its end."""
    at = found.start()
    if found[0] == "//":
        newline = source.find("\n", at)
        return Kind.LINE, len(source) if newline < 0 else newline
    if found[0] == "/*":
        depth = 0
        for edge in COMMENT_EDGE.finditer(source, at):
            depth += 1 if edge[0] == "/*" else -1
            if depth == 0:
                return Kind.BLOCK, edge.end()
        return Kind.BLOCK, len(source)
    if found[0].endswith('"') and found[0] != '"':
        closing = source.find('"' + found[1], found.end())
        return Kind.STRING, len(source) if closing < 0 else closing + 1 + len(found[1])
    if found[0] == '"':
        string = STRING.match(source, at)
        return Kind.STRING, string.end() if string else len(source)
    character = CHARACTER.match(source, at)
    return (Kind.CHARACTER, character.end()) if character else (Kind.CODE, at + 1)


def pieces(source: str) -> Iterator[Piece]:
    """Yield the pieces of `source` in order."""
    code = at = 0
    while found := OPENING.search(source, at):
        kind, after = end(source, found)
        if kind is not Kind.CODE:
            if code < found.start():
                yield Piece(Kind.CODE, code, source[code : found.start()])
            yield Piece(kind, found.start(), source[found.start() : after])
            code = after
        at = after
    if code < len(source):
        yield Piece(Kind.CODE, code, source[code:])


def value(literal: str) -> str:
    """Return the text of a string literal."""
    if "r" in literal.partition('"')[0]:
        return literal.partition('"')[2].rstrip("#")[:-1]
    text = literal.partition('"')[2][:-1]
    text = re.sub(r"\\\n\s*", "", text)
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t", "r": "\r"}.get(found[1], found[1]), text)


def code_alone(source: str) -> str:
    """Return `source` without comments and with empty literals."""
    empty = {Kind.STRING: '""', Kind.CHARACTER: "' '", Kind.BLOCK: " "}
    return "".join(piece.text if piece.kind is Kind.CODE else empty.get(piece.kind, "") for piece in pieces(source))
