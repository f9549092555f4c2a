"""A peer's text, made safe for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Escape unprintable characters, which a terminal may interpret."""
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
