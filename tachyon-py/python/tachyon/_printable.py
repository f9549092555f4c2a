"""Text of a peer's on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Show what a terminal would act upon, such as escape sequences, as escapes."""
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
