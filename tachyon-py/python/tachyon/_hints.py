"""From a type hint to its layout."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, get_args, get_origin

from tachyon._array import Array, ArrayLayout, ListLayout, Shown
from tachyon._layout import (
    PRIMITIVES,
    TEXT,
    EnumLayout,
    FixedBytes,
    FixedStr,
    Layout,
    OptionLayout,
    Primitive,
    StructLayout,
)
from tachyon._names import OF_ENUMS, objection
from tachyon._tensor import MOST_DIMENSIONS, TensorLayout

# Type checkers see plain numbers; the annotation is the layout in memory.
u8: TypeAlias = Annotated[int, PRIMITIVES["u8"]]
u16: TypeAlias = Annotated[int, PRIMITIVES["u16"]]
u32: TypeAlias = Annotated[int, PRIMITIVES["u32"]]
u64: TypeAlias = Annotated[int, PRIMITIVES["u64"]]
i8: TypeAlias = Annotated[int, PRIMITIVES["i8"]]
i16: TypeAlias = Annotated[int, PRIMITIVES["i16"]]
i32: TypeAlias = Annotated[int, PRIMITIVES["i32"]]
i64: TypeAlias = Annotated[int, PRIMITIVES["i64"]]
f32: TypeAlias = Annotated[float, PRIMITIVES["f32"]]
f64: TypeAlias = Annotated[float, PRIMITIVES["f64"]]
# The builtin is the hint.
bool: TypeAlias = bool  # noqa: A001, PLW0127 - `tachyon.bool` completes the list

Repr: TypeAlias = Literal["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64"]


class IntEnum(enum.IntEnum):
    """An enum that travels as a number of a declared size: `class Side(tachyon.IntEnum, repr="u8")`.

    A member that has the name of a keyword, or of what every IntEnum has (`name`, `real`), is written with an
    underscore behind it, `None_`, and travels as `None`.
    """

    if TYPE_CHECKING:
        __tachyon_repr__: str

    def __init_subclass__(cls, *, repr: Repr | None = None, **kwargs: Any) -> None:  # noqa: A002
        """Set the number type, and check that every member fits it."""
        super().__init_subclass__(**kwargs)
        if repr is None:
            # The module of a class made without a class statement is `enum`: cloudpickle makes such a class, and then
            # sets `__tachyon_repr__`.
            if cls.__module__ == enum.__name__:
                return
            message = f'{cls.__name__} has no number type; write class {cls.__name__}(..., repr="u8")'
            raise TypeError(message)
        number = PRIMITIVES.get(repr)
        if number is None or repr in {"f32", "f64", "bool"}:
            message = f"the repr of {cls.__name__} must be one of u8 to u64 and i8 to i64, not {repr!r}"
            raise TypeError(message)
        if not len(cls):
            message = f"{cls.__name__} has no members"
            raise TypeError(message)
        for name, member in cls.__members__.items():
            if refused := objection(name, OF_ENUMS, "an IntEnum"):
                message = f"member `{name}` of {cls.__name__}: {refused}"
                raise TypeError(message)
            number.plan.encode(int(member), f"{cls.__name__}.{name}")
        cls.__tachyon_repr__ = number.name


_ENUMS: Final[dict[type[enum.IntEnum], EnumLayout]] = {}


def _enum(members: type[enum.IntEnum]) -> EnumLayout | None:
    if (found := _ENUMS.get(members)) is None and (number := members.__dict__.get("__tachyon_repr__")) is not None:
        found = _ENUMS[members] = EnumLayout(members, PRIMITIVES[number])
    return found


_ADVICE = {
    int: "tachyon.i64 or another of u8 to u64 and i8 to i64",
    float: "tachyon.f64 or tachyon.f32",
    bytearray: "bytes",
    tuple: "list[tachyon.f64] for any number of values, Annotated[tachyon.Array[tachyon.f64], 4] for four numbers",
    enum.IntEnum: 'an enum that says its size: class Side(tachyon.IntEnum, repr="u8")',
}

_FIXED_ADVICE = {
    str: "Annotated[str, 16] for sixteen bytes of UTF-8",
    bytes: "Annotated[bytes, 16] for sixteen bytes",
    list: "Annotated[tachyon.Array[tachyon.f64], 4] for four numbers",
    Array: "Annotated[tachyon.Array[tachyon.f64], 4] for four numbers",
}

_LISTS: dict[Any, tuple[Shown, str]] = {
    Array: ("array", "tachyon.Array[tachyon.f64] for numbers in place"),
    Sequence: ("array", "Sequence[tachyon.f64] for numbers in place"),
    list: ("list", "list[tachyon.f64] for a list of numbers"),
}


def fixed(hint: Any, place: str) -> Layout:
    """Give the layout of a hint of a fixed size, or raise naming the place of the hint."""
    found = layout(hint, place)
    if found.is_fixed:
        return found
    plain = get_origin(hint) or hint
    known = next((advice for kind, advice in _FIXED_ADVICE.items() if plain is kind), None)
    message = f"{place}: {shown(hint)} has no fixed size" + (f"; write {known}" if known else "")
    raise TypeError(message)


def layout(hint: Any, place: str) -> Layout:
    """Give the layout of a hint, or raise naming the place of the hint."""
    if (found := _known(hint, place) or _variable(hint, place)) is not None:
        return found
    plain = get_origin(hint) or hint
    for known, advice in _ADVICE.items():
        if isinstance(plain, type) and issubclass(plain, known):
            message = f"{place}: {shown(hint)} does not say how it lies in memory; write {advice}"
            raise TypeError(message)
    message = (
        f"{place}: {shown(hint)} cannot travel; numbers such as tachyon.u64, bool, str, bytes, Structs, "
        "tachyon.IntEnum, list, tachyon.Array and numpy.typing.NDArray of these, and `X | None` do"
    )
    raise TypeError(message)


def shown(hint: Any) -> str:
    """Show a hint in an error text."""
    return getattr(hint, "__name__", None) or str(hint)


def _known(hint: Any, place: str) -> Layout | None:
    if hint is bool:
        return PRIMITIVES["bool"]
    if isinstance(hint, Layout):
        return hint  # a layout stands for itself
    if isinstance(hint, type) and get_origin(hint) is None:
        own: Layout | None = hint.__dict__.get("__layout__")
        return own if own is not None else _enum(hint) if issubclass(hint, enum.IntEnum) else None
    if get_origin(hint) is not Annotated:
        return None
    plain, *notes = get_args(hint)
    for note in notes:
        if isinstance(note, Primitive):
            return note
    lengths = [note for note in notes if type(note) is int]
    # Without a length it is annotated for another reader.
    return _of_length(plain, lengths[0], place) if lengths else _known(plain, place)


def _of_length(plain: Any, length: int, place: str) -> Layout | None:
    if length <= 0:
        message = f"{place}: a length is a number from 1 up, not {length}"
        raise TypeError(message)
    if plain is bytes:
        return FixedBytes(length)
    if plain is str:
        return FixedStr(length)
    if get_origin(plain) is Array:
        return ArrayLayout(fixed(get_args(plain)[0], f"{place}, each"), length)
    return None


def _variable(hint: Any, place: str) -> Layout | None:
    if hint is str:
        return TEXT
    if hint is bytes or hint is memoryview:
        return ListLayout(PRIMITIVES["u8"], "bytes" if hint is bytes else "memoryview")
    plain, notes = (get_args(hint)[0], get_args(hint)[1:]) if get_origin(hint) is Annotated else (hint, ())
    if _is_numpy(plain):
        return _numpy(plain, notes, place)
    kind = get_origin(plain) or plain
    if kind is typing.Union or kind is types.UnionType:
        return _option(plain, place)
    for known, (how, advice) in _LISTS.items():
        if kind is known:
            if not get_args(plain):
                message = f"{place}: {kind.__name__} does not say what it consists of; write {advice}"
                raise TypeError(message)
            return _list(get_args(plain)[0], how, place)
    return _variable(plain, place) if plain is not hint else None


def _list(of: Any, how: Shown, place: str) -> Layout:
    inner = f"{place}, each"
    found = fixed(of, inner) if how == "array" else layout(of, inner)
    if isinstance(found, OptionLayout):
        message = f"{inner}: values of a list are there; leave out those that are None"
        raise TypeError(message)
    return ListLayout(found, how)


def _option(hint: Any, place: str) -> Layout:
    kinds = [kind for kind in get_args(hint) if kind is not types.NoneType]
    if len(kinds) != 1:
        message = f"{place}: {hint} is no one type; write one, or one and None"
        raise TypeError(message)
    found = layout(kinds[0], place)
    # As in Python, `(X | None) | None` is `X | None`; an annotation between the two hides it.
    return found if isinstance(found, OptionLayout) else OptionLayout(found)


_DTYPES = {
    "u1": "u8",
    "u2": "u16",
    "u4": "u32",
    "u8": "u64",
    "i1": "i8",
    "i2": "i16",
    "i4": "i32",
    "i8": "i64",
    "f4": "f32",
    "f8": "f64",
    "b1": "bool",
}


def _is_numpy(hint: Any) -> bool:
    named = get_origin(hint) or hint
    return getattr(named, "__module__", "") == "numpy" and getattr(named, "__name__", "") == "ndarray"


def _numpy(hint: Any, notes: tuple[Any, ...], place: str) -> ListLayout | TensorLayout:
    arguments = get_args(hint)
    shape = get_args(arguments[0]) if arguments else ()
    is_tensor = bool(shape) and Ellipsis not in shape
    for note in notes:
        own = getattr(note, "__dict__", {}).get("__layout__")
        if isinstance(own, StructLayout):
            if is_tensor:
                message = f"{place}: the values of a tensor are numbers, and {own.name} is none"
                raise TypeError(message)
            return ListLayout(own, "numpy", note.dtype)
    numbers = get_args(arguments[1]) if len(arguments) > 1 else ()
    if numbers and isinstance(numbers[0], type):
        import numpy as np  # noqa: PLC0415 - the hint is numpy's

        try:
            dtype = np.dtype(numbers[0])
        except TypeError:
            pass  # One of numpy's classes for several types, such as `numpy.floating`.
        else:
            name = _DTYPES.get(dtype.str[1:])
            if name is not None and dtype.isnative:
                of = PRIMITIVES[name]
                return _tensor(of, shape, place) if is_tensor else ListLayout(of, "numpy", dtype)
    message = (
        f"{place}: an array says what it is an array of: numpy.typing.NDArray[numpy.float64], or of a Struct "
        "Annotated[numpy.typing.NDArray[numpy.void], PriceRequest]; in two dimensions "
        "numpy.ndarray[tuple[int, int], numpy.dtype[numpy.float64]]"
    )
    raise TypeError(message)


def _tensor(of: Primitive, shape: tuple[Any, ...], place: str) -> TensorLayout:
    if any(each is not int for each in shape):
        message = (
            f"{place}: each dimension of a tensor is `int`, since the shape travels with each value: write "
            f"numpy.ndarray[tuple[int, int], numpy.dtype[numpy.float32]]"
        )
        raise TypeError(message)
    if len(shape) > MOST_DIMENSIONS:
        message = f"{place}: a tensor has 1 to {MOST_DIMENSIONS} dimensions, and this hint has {len(shape)}"
        raise TypeError(message)
    if of is PRIMITIVES["bool"]:
        message = f"{place}: the values of a tensor are numbers: write numpy.uint8, of 0 and 1"
        raise TypeError(message)
    return TensorLayout(of, len(shape))
