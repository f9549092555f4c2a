"""How values lie in memory: one object for each kind of type that a field, a request or a reply can have."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from tachyon._names import OF_ENUMS, wire_name
from tachyon.errors import BadRequestError, ReleasedError

if TYPE_CHECKING:
    import enum
    from collections.abc import Callable

    from tachyon._tachyon import Memory

Json: TypeAlias = str | dict[str, Any]


class Layout(Protocol):
    """A type that travels. `place` names, in errors, whose value it is."""

    # The type as errors call it, the same words as in Rust.
    name: str
    # Bytes of one value, and what its offset is a multiple of.
    size: int
    align: int
    # What its buffer consists of, in the letters of `memoryview.cast`.
    form: str
    # Whether any bytes of the right length are a value.
    total: bool

    def read(self, view: memoryview, at: int) -> Any:
        """Give the value at `at`."""

    def write(self, view: memoryview, at: int, value: Any, place: str) -> None:
        """Put a value there, or raise naming `place`."""

    def check(self, view: memoryview, at: int, place: str) -> None:
        """Raise BadRequestError unless a value is there."""

    def describe(self) -> Json:
        """Give the layout as it is in a description."""
        raise NotImplementedError

    def dtype(self) -> Any:
        """Give what `numpy.dtype` makes the same type of."""


_CODES = {
    "u8": "B",
    "u16": "H",
    "u32": "I",
    "u64": "Q",
    "i8": "b",
    "i16": "h",
    "i32": "i",
    "i64": "q",
    "f32": "f",
    "f64": "d",
    "bool": "?",
}


class Primitive:
    """A number or a bool, in the machine's byte order."""

    def __init__(self, name: str) -> None:
        """Know the type by its Rust name."""
        self.name = name
        self.form = _CODES[name]
        packer = struct.Struct("<" + self.form)
        self.size = self.align = packer.size
        self.total = name != "bool"
        self._pack: Callable[[Any], bytes] = packer.pack
        self.unpack = packer.unpack_from
        self._accepted: tuple[type, ...] = (int, float) if name in {"f32", "f64"} else (int,)

    def __repr__(self) -> str:
        """Show the type as it is written."""
        return f"tachyon.{self.name}"

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        """Pickle the name: there is one object of each."""
        return _primitive, (self.name,)

    def read(self, view: memoryview, at: int) -> Any:
        return self.unpack(view, at)[0]

    def write(self, view: memoryview, at: int, value: Any, place: str) -> None:
        try:
            if self.name == "bool" and not isinstance(value, bool) and type(value).__name__ not in {"bool_", "bool"}:
                self._refuse(value, place)
            # Not packed in place: a value that does not fit would leave zeros there.
            view[at : at + self.size] = self._pack(value)
        except (struct.error, OverflowError):
            self._refuse(value, place)

    def _refuse(self, value: object, place: str) -> None:
        if self.name == "bool":
            message = f"{place} is a bool, not {type(value).__name__}"
            raise TypeError(message) from None
        if self.name in {"f32", "f64"}:
            if isinstance(value, (int, float)):
                message = f"{place} is {self.name}, and {value!r} is out of its range"
                raise OverflowError(message) from None
            message = f"{place} is a number ({self.name}), not {type(value).__name__}"
            raise TypeError(message) from None
        if not hasattr(value, "__index__"):
            message = f"{place} is a whole number ({self.name}), not {type(value).__name__}"
            raise TypeError(message) from None
        signed = self.name.startswith("i")
        bits = self.size * 8 - signed
        low = -(1 << bits) if signed else 0
        message = f"{place} is {self.name}, from {low} to {(1 << bits) - 1}, and {value!r} is out of that range"
        raise OverflowError(message) from None

    def check(self, view: memoryview, at: int, place: str) -> None:
        if not self.total and view[at] > 1:
            message = f"{place} is {view[at]}, and bool has no such value"
            raise BadRequestError(message)

    def describe(self) -> Json:
        return self.name

    def dtype(self) -> Any:
        return "<" + self.form if self.size > 1 else self.form


PRIMITIVES = {name: Primitive(name) for name in _CODES}


def _primitive(name: str) -> Primitive:
    return PRIMITIVES[name]


class FixedBytes:
    """As many bytes as the annotation says, no more and no fewer."""

    align = 1
    form = "B"
    total = True

    def __init__(self, length: int) -> None:
        """Be `length` bytes long."""
        self.size = length
        self.name = f"bytes[{length}]"

    def read(self, view: memoryview, at: int) -> bytes:
        return bytes(view[at : at + self.size])

    def write(self, view: memoryview, at: int, value: Any, place: str) -> None:
        try:
            data = bytes(memoryview(value))
        except TypeError:
            message = f"{place} is {self.size} bytes, not {type(value).__name__}"
            raise TypeError(message) from None
        if len(data) != self.size:
            message = f"{place} is {self.size} bytes, and {len(data)} were given"
            raise ValueError(message)
        view[at : at + self.size] = data

    def check(self, view: memoryview, at: int, place: str) -> None:
        pass

    def describe(self) -> Json:
        return {"kind": "bytes", "len": self.size}

    def dtype(self) -> Any:
        return f"V{self.size}"


class FixedStr:
    """Text of at most so many bytes of UTF-8, filled up with zeros."""

    align = 1
    form = "B"
    total = False

    def __init__(self, length: int) -> None:
        """Hold up to `length` bytes."""
        self.size = length
        self.name = f"str[{length}]"

    def read(self, view: memoryview, at: int) -> str:
        return bytes(view[at : at + self.size]).rstrip(b"\0").decode()

    def write(self, view: memoryview, at: int, value: Any, place: str) -> None:
        if not isinstance(value, str):
            message = f"{place} is text, not {type(value).__name__}"
            raise TypeError(message)
        data = value.encode()
        if len(data) > self.size:
            message = f"{place} holds {self.size} bytes of UTF-8, and {value!r} has {len(data)}"
            raise ValueError(message)
        if data.endswith(b"\0"):
            message = f"{place} is filled up with zeros, so its text cannot end in one"
            raise ValueError(message)
        view[at : at + self.size] = data.ljust(self.size, b"\0")

    def check(self, view: memoryview, at: int, place: str) -> None:
        try:
            self.read(view, at)
        except UnicodeDecodeError:
            message = f"{place} is no UTF-8, and {self.name} is"
            raise BadRequestError(message) from None

    def describe(self) -> Json:
        return {"kind": "str", "len": self.size}

    def dtype(self) -> Any:
        return f"S{self.size}"


class EnumLayout:
    """One of the members of an IntEnum."""

    total = False

    def __init__(self, members: type[enum.IntEnum], number: Primitive) -> None:
        """Stand for `members`, each as a `number`."""
        self.members = members
        self.number = number
        self.name = members.__name__
        self.size, self.align, self.form = number.size, number.align, number.form
        self.read_number = number.read
        self._known = frozenset(int(member) for member in members)

    def read(self, view: memoryview, at: int) -> enum.IntEnum:
        return self.members(self.read_number(view, at))

    def write(self, view: memoryview, at: int, value: Any, place: str) -> None:
        try:
            member = self.members(value)
        except ValueError:
            message = f"{place} is a {self.name}, and {value!r} is none"
            raise ValueError(message) from None
        self.number.write(view, at, member.value, place)

    def check(self, view: memoryview, at: int, place: str) -> None:
        found = self.read_number(view, at)
        if found not in self._known:
            message = f"{place} is {found}, and {self.name} has no such value"
            raise BadRequestError(message)

    def describe(self) -> Json:
        variants = [{"name": wire_name(member.name, OF_ENUMS), "value": int(member)} for member in self.members]
        described: dict[str, Any] = {"kind": "enum", "name": self.name}
        if doc := own_doc(self.members):
            described["doc"] = doc
        return described | {"repr": self.number.name, "variants": variants}

    def dtype(self) -> Any:
        return self.number.dtype()


def own_doc(described: type) -> str:
    """Give a class's own docstring, tidied; empty when it has none."""
    import inspect  # noqa: PLC0415 - costs more than the rest of this module together

    doc = described.__dict__.get("__doc__")
    return inspect.cleandoc(doc) if isinstance(doc, str) else ""


def over(memory: Memory) -> str:
    """Say what became of a window on memory that is gone."""
    return (
        f"this {type(memory).__name__} is a view of a request, which was valid during its call only; "
        "keep a copy: request.copy()"
    )


def use(memory: Memory, layout: Layout, at: int) -> Any:
    """Read through a window, saying what is wrong when the memory is gone."""
    try:
        return layout.read(memory.__tachyon_view__, memory.__tachyon_at__ + at)
    except ValueError as error:
        if "released" in str(error):
            raise ReleasedError(over(memory)) from None
        raise


def change(memory: Memory, layout: Layout, at: int, value: Any, place: str) -> None:
    """Write through a window, saying what is wrong when that cannot be."""
    view = memory.__tachyon_view__
    try:
        if view.readonly:
            message = f"this {type(memory).__name__} is a view of a request, which is read-only; change a copy of it"
            raise TypeError(message)
        layout.write(view, memory.__tachyon_at__ + at, value, place)
    except ValueError as error:
        if "released" in str(error):
            raise ReleasedError(over(memory)) from None
        raise
