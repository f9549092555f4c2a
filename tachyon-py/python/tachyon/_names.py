"""Names that Python keeps for itself, and what they are called instead."""

from __future__ import annotations

import keyword
from typing import Final

# What every Struct, and every IntEnum, has of its own.
_OF_STRUCTS: Final = frozenset({"copy", "dtype", "from_bytes"})
_OF_ENUMS: Final = frozenset(name for name in dir(int) if not name.startswith("_")) | {"mro", "name", "value"}


def _is_reserved(name: str) -> bool:
    stem = name.rstrip("_")
    return keyword.iskeyword(stem) or stem in _OF_STRUCTS or stem in _OF_ENUMS


def python_name(name: str) -> str:
    """Give the name in Python of something described: with an underscore behind it if Python keeps the name."""
    return name + "_" if _is_reserved(name) else name


def wire_name(name: str) -> str:
    """Give the name in a description of something in Python; undoes `python_name`."""
    return name[:-1] if name.endswith("_") and _is_reserved(name) else name
