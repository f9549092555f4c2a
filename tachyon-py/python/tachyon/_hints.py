"""From a type hint to the layout it stands for."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, get_args, get_origin

from tachyon._array import Array, ArrayLayout
from tachyon._layout import PRIMITIVES, EnumLayout, FixedBytes, FixedStr, Layout, Primitive
from tachyon._names import OF_ENUMS, objection

# To a type checker these are plain numbers; what they are in memory is noted beside.
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
# The builtin says all there is to say.
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
        """Note the number, and see that every member fits it."""
        super().__init_subclass__(**kwargs)
        if repr is None:
            # Without a class statement the module is still that of `enum`: cloudpickle makes a class like this, and
            # then sets `__tachyon_repr__`.
            if cls.__module__ == enum.__name__:
                return
            message = f'{cls.__name__} does not say which number stands for it: class {cls.__name__}(..., repr="u8")'
            raise TypeError(message)
        number = PRIMITIVES.get(repr)
        if number is None or repr in {"f32", "f64", "bool"}:
            message = f"the repr of {cls.__name__} is one of u8 to u64 and i8 to i64, not {repr!r}"
            raise TypeError(message)
        if not len(cls):
            message = f"{cls.__name__} has no members"
            raise TypeError(message)
        room = memoryview(bytearray(number.size))
        for name, member in cls.__members__.items():
            if refused := objection(name, OF_ENUMS, "an IntEnum"):
                message = f"member `{name}` of {cls.__name__}: {refused}"
                raise TypeError(message)
            number.write(room, 0, int(member), f"{cls.__name__}.{name}")
        cls.__tachyon_repr__ = number.name


_ENUMS: Final[dict[type[enum.IntEnum], EnumLayout]] = {}


def _enum(members: type[enum.IntEnum]) -> EnumLayout | None:
    if (found := _ENUMS.get(members)) is None and (number := members.__dict__.get("__tachyon_repr__")) is not None:
        found = _ENUMS[members] = EnumLayout(members, PRIMITIVES[number])
    return found


_ADVICE = {
    int: "tachyon.i64 or another of u8 to u64 and i8 to i64",
    float: "tachyon.f64 or tachyon.f32",
    bytes: "Annotated[bytes, 16] for sixteen of them",
    bytearray: "Annotated[bytes, 16] for sixteen of them",
    str: "Annotated[str, 16] for sixteen bytes of UTF-8",
    list: "Annotated[tachyon.Array[tachyon.f64], 4] for four numbers",
    tuple: "Annotated[tachyon.Array[tachyon.f64], 4] for four numbers",
    enum.IntEnum: 'an enum that says its size: class Side(tachyon.IntEnum, repr="u8")',
    Array: "Annotated[tachyon.Array[tachyon.f64], 4] for four numbers",
}


def layout(hint: Any, place: str) -> Layout:
    """Give what a hint says about memory, or raise naming the place that has it."""
    if (found := _fixed(hint, place)) is not None:
        return found
    plain = get_origin(hint) or hint
    name = getattr(hint, "__name__", None) or str(hint)
    for known, advice in _ADVICE.items():
        if isinstance(plain, type) and issubclass(plain, known):
            message = f"{place}: {name} does not say how it lies in memory; write {advice}"
            raise TypeError(message)
    message = (
        f"{place}: {name} cannot lie in shared memory; fields are numbers such as tachyon.u64, bool, other Structs, "
        "tachyon.IntEnum, and Annotated bytes, str and tachyon.Array of a fixed length"
    )
    raise TypeError(message)


def _fixed(hint: Any, place: str) -> Layout | None:
    if hint is bool:
        return PRIMITIVES["bool"]
    if isinstance(hint, (Primitive, FixedBytes, FixedStr, EnumLayout, ArrayLayout)):
        return hint  # a layout stands for itself
    if isinstance(hint, type):
        own: Layout | None = hint.__dict__.get("__layout__")
        return own if own is not None else _enum(hint) if issubclass(hint, enum.IntEnum) else None
    if get_origin(hint) is not Annotated:
        return None
    plain, *notes = get_args(hint)
    for note in notes:
        if isinstance(note, Primitive):
            return note
    lengths = [note for note in notes if type(note) is int]
    # Without a length it is annotated for somebody else.
    return _of_length(plain, lengths[0], place) if lengths else _fixed(plain, place)


def _of_length(plain: Any, length: int, place: str) -> Layout | None:
    if length <= 0:
        message = f"{place}: a length is a number from 1 up, not {length}"
        raise TypeError(message)
    if plain is bytes:
        return FixedBytes(length)
    if plain is str:
        return FixedStr(length)
    if get_origin(plain) is Array:
        return ArrayLayout(layout(get_args(plain)[0], f"{place}, each"), length)
    return None
