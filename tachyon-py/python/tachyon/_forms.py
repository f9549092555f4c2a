"""The forms of requests and replies: nothing, bytes, one value, any number of values."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Protocol, get_args, get_origin

from tachyon._array import Array, checked, copied
from tachyon._hints import layout
from tachyon._layout import PRIMITIVES, Layout
from tachyon._struct import Struct, StructLayout
from tachyon._struct import checked as checked_struct
from tachyon.errors import BadRequestError

if TYPE_CHECKING:
    from collections.abc import Callable


class Form(Protocol):
    """What a request or a reply consists of."""

    # Whether the two sides can mean different things by it.
    typed: bool
    # Whether what came is a copy anyway, which may then as well be made of bytes, by `own`.
    copies: bool

    def decode(self, view: memoryview) -> Any:
        """Give what came, in place where that can be, or raise BadRequestError."""

    def own(self, data: bytes) -> Any:
        """Give what came as a value for good, or raise BadRequestError."""

    def encode(self, value: Any, place: str) -> Any:
        """Give the buffer to send, or raise naming `place`."""

    def describe(self) -> dict[str, Any]:
        """Give the form as it is in a description."""
        raise NotImplementedError


class Empty:
    """Nothing."""

    typed = False
    copies = True

    def decode(self, view: memoryview) -> None:
        self.own(bytes(view))

    def own(self, data: bytes) -> None:
        if data:
            message = f"{len(data)} bytes came where none are expected"
            raise BadRequestError(message)

    def encode(self, value: Any, place: str) -> bytes:
        if value is not None:
            message = f"{place} is nothing, not {type(value).__name__}"
            raise TypeError(message)
        return b""

    def describe(self) -> dict[str, Any]:
        return {"form": "empty"}


class Raw:
    """Bytes that mean what the two sides agree on."""

    typed = False

    def __init__(self, make: Callable[[memoryview], Any]) -> None:
        """Hand requests over as `make` makes them."""
        self._make = make
        self.copies = make is bytes

    def decode(self, view: memoryview) -> Any:
        return self._make(view)

    def own(self, data: bytes) -> bytes:
        return data

    def encode(self, value: Any, place: str) -> Any:  # noqa: ARG002
        return value

    def describe(self) -> dict[str, Any]:
        return {"form": "bytes"}


class OneStruct:
    """One Struct, read in place."""

    typed = True
    copies = False

    def __init__(self, struct: type[Struct]) -> None:
        """Be a `struct`."""
        self.struct = struct

    def decode(self, view: memoryview) -> Struct:
        return checked_struct(self.struct, view)

    def own(self, data: bytes) -> Struct:
        return checked_struct(self.struct, memoryview(bytearray(data)), private=True)

    def encode(self, value: Any, place: str) -> bytes:
        if not isinstance(value, self.struct):
            message = f"{place} is a {self.struct.__name__}, not {type(value).__name__}"
            raise TypeError(message)
        return bytes(value)

    def describe(self) -> dict[str, Any]:
        return {"form": "payload", "layout": self.struct.__layout__.describe()}


class OneValue:
    """One number, enum, array or the like, as a value."""

    typed = True
    copies = True

    def __init__(self, layout: Layout) -> None:
        """Be laid out so."""
        self.layout = layout

    def decode(self, view: memoryview) -> Any:
        return self.own(bytes(view))

    def own(self, data: bytes) -> Any:
        own = self.layout
        if len(data) != own.size:
            message = f"{len(data)} bytes came, and {own.name} has {own.size}"
            raise BadRequestError(message)
        view = memoryview(data)
        own.check(view, 0, own.name)
        return own.read(view, 0)

    def encode(self, value: Any, place: str) -> memoryview:
        view = memoryview(bytearray(self.layout.size))
        self.layout.write(view, 0, value, place)
        return view

    def describe(self) -> dict[str, Any]:
        return {"form": "payload", "layout": self.layout.describe()}


class Many:
    """Any number of values, as an Array."""

    typed = True
    copies = False

    def __init__(self, of: Layout) -> None:
        """Be values laid out so."""
        self.of = of

    def decode(self, view: memoryview) -> Sequence[Any]:
        return checked(view, self.of)

    def own(self, data: bytes) -> Sequence[Any]:
        return checked(memoryview(bytearray(data)), self.of, private=True)

    def encode(self, value: Any, place: str) -> memoryview:
        return copied(self.of, value, place)

    def describe(self) -> dict[str, Any]:
        # Rust's `&[u8]` are bytes, and so are they here.
        if self.of is PRIMITIVES["u8"]:
            return {"form": "bytes"}
        return {"form": "slice", "layout": self.of.describe()}


class Listed(Many):
    """Any number of values, as a list of its own."""

    copies = True

    def decode(self, view: memoryview) -> list[Any]:
        return self.own(bytes(view))

    def own(self, data: bytes) -> list[Any]:
        return list(super().own(data))


class Numpy:
    """Any number of values, as a numpy array of one dimension."""

    typed = True
    copies = False

    def __init__(self, of: Layout, dtype: Any) -> None:
        """Be values of a dtype, laid out so."""
        import numpy as np  # noqa: PLC0415 - whoever writes this hint has it

        self._np = np
        self.of = of
        self.dtype = np.dtype(dtype)

    def decode(self, view: memoryview) -> Any:
        if view.nbytes % self.of.size or not self.of.total:
            view = checked(view, self.of).__tachyon_view__
        return self._np.frombuffer(view, dtype=self.dtype)

    def own(self, data: bytes) -> Any:
        return self.decode(memoryview(bytearray(data)))

    def encode(self, value: Any, place: str) -> Any:
        array = self._np.asarray(value)
        if array.dtype != self.dtype:
            if isinstance(value, self._np.ndarray):
                message = f"{place} is an array of {self.dtype}, and this one is of {array.dtype}: use astype"
                raise TypeError(message)
            array = self._np.asarray(value, dtype=self.dtype)
        # As bytes: a buffer of records has a format that not everybody reads.
        return self._np.ascontiguousarray(array).reshape(-1).view(self._np.uint8)

    def describe(self) -> dict[str, Any]:
        return Many(self.of).describe()


_INTEGERS = {"u1": "u8", "u2": "u16", "u4": "u32", "u8": "u64", "i1": "i8", "i2": "i16", "i4": "i32", "i8": "i64"}
_DTYPES = _INTEGERS | {"f4": "f32", "f8": "f64", "b1": "bool"}

_ADVICE: dict[Any, str] = {
    Array: "tachyon.Array[tachyon.f64] for numbers in place",
    Sequence: "Sequence[tachyon.f64] for numbers in place",
    list: "list[tachyon.f64] for a list of numbers",
}

EMPTY = Empty()
RAW = Raw(lambda view: view)


def form(hint: Any, place: str) -> Form:
    """Give the form that a hint asks for, or raise naming the place that has it."""
    if hint is None or hint is types.NoneType:
        return EMPTY
    if hint is memoryview or hint is object or hint is Any or getattr(hint, "__name__", "") == "Buffer":
        return RAW
    if hint is bytes or hint is bytearray:
        return Raw(hint)
    plain, notes = (get_args(hint)[0], get_args(hint)[1:]) if get_origin(hint) is Annotated else (hint, ())
    if _is_numpy(plain):
        return _numpy(plain, notes, place)
    kind = get_origin(plain) or plain
    if any(kind is each for each in _ADVICE) and not notes:
        if not get_args(plain):
            message = f"{place}: {kind.__name__} does not say what it consists of; write {_ADVICE[kind]}"
            raise TypeError(message)
        made = Listed if kind is list else Many
        return made(layout(get_args(plain)[0], f"{place}, each"))
    if typing.is_typeddict(hint) or get_origin(hint) in {typing.Union, types.UnionType}:
        message = f"{place}: {hint} is no one type; endpoints take and give one"
        raise TypeError(message)
    found = layout(hint, place)
    return OneStruct(found.cls) if isinstance(found, StructLayout) else OneValue(found)


def _is_numpy(hint: Any) -> bool:
    named = get_origin(hint) or hint
    return getattr(named, "__module__", "") == "numpy" and getattr(named, "__name__", "") == "ndarray"


def _numpy(hint: Any, notes: tuple[Any, ...], place: str) -> Numpy:
    for note in notes:
        if isinstance(note, type) and issubclass(note, Struct):
            return Numpy(note.__layout__, note.dtype)
    arguments = get_args(get_args(hint)[1]) if len(get_args(hint)) > 1 else ()
    if arguments and isinstance(arguments[0], type):
        import numpy as np  # noqa: PLC0415 - the hint is numpy's

        try:
            dtype = np.dtype(arguments[0])
        except TypeError:
            pass  # One of numpy's classes for several types, such as `numpy.floating`.
        else:
            name = _DTYPES.get(dtype.str[1:])
            if name is not None and dtype.isnative:
                return Numpy(PRIMITIVES[name], dtype)
    message = (
        f"{place}: an array says what it is an array of: numpy.typing.NDArray[numpy.float64], or of a Struct "
        "Annotated[numpy.typing.NDArray[numpy.void], PriceRequest]"
    )
    raise TypeError(message)
