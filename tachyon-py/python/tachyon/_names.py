"""Names that Python reserves, and the names that replace them."""

from __future__ import annotations

import keyword
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

OF_STRUCTS: Final = frozenset({"copy", "dtype", "from_bytes", "replace"})
"""Attributes of every Struct."""

OF_ENUMS: Final = frozenset(name for name in dir(int) if not name.startswith("_")) | {"mro", "name", "value"}
"""Attributes of every IntEnum."""

_DUNDERS: Final = 4


def normal(text: str) -> str:
    """Give a name in NFKC, the form of Python's identifiers, in which names are compared.

    Rust reads identifiers in NFC. The micro sign U+00B5, which NFC keeps, is the Greek letter U+03BC in NFKC.
    """
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def is_padding(name: str) -> bool:
    """Whether a field of that name is padding."""
    return name.startswith("_")


def objection(name: str, own: frozenset[str], owner: str) -> str | None:
    """Give the reason why a field or a member cannot have a name, with a replacement; None if the name is fine.

    `owner` has the attributes in `own`: "a Struct" or "an IntEnum".
    """
    name = normal(name)
    if not name.isidentifier():
        return f"{name!r} is no identifier; choose an identifier"
    if name.startswith("__") and name.endswith("__") and len(name) > _DUNDERS:
        return f"names such as `{name}` are Python's; call it `{'_' + name.strip('_')}`"
    if keyword.iskeyword(name):
        return f"`{name}` is a keyword of Python; call it `{name}_`, which travels as `{name}`"
    if name in own:
        return f"{owner} has a {name} of its own; call it `{name}_`, which travels as `{name}`"
    return None


def _is_reserved(name: str, own: frozenset[str]) -> bool:
    stem = name.rstrip("_")
    return keyword.iskeyword(stem) or stem in own


def python_name(name: str, own: frozenset[str]) -> str:
    """Give the Python name of a described name: with a trailing underscore if Python reserves the name."""
    return name + "_" if _is_reserved(name, own) else name


def wire_name(name: str, own: frozenset[str]) -> str:
    """Give the described name of a Python name; undoes `python_name`."""
    return name[:-1] if name.endswith("_") and _is_reserved(name, own) else name


def field_names(described: Iterable[str], used: frozenset[str] = frozenset()) -> list[str]:
    """Give each described field a Python name: all different, and none in `used`."""
    names: dict[str, None] = {}
    for field in described:
        # Python mangles a name with two leading underscores. The name of padding is arbitrary.
        name = "_" + field.strip("_") if is_padding(field) else python_name(field, OF_STRUCTS)
        while name in names or name in used or name == "_":
            name += "_"
        names[name] = None
    return list(names)
