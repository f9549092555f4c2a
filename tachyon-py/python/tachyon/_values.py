"""Values as JSON, for people at a command line: a Struct is an object, an enum its name, bytes are hexadecimal."""

from __future__ import annotations

import enum
from typing import Any, cast

from tachyon._array import Array, ArrayLayout
from tachyon._description import ArrayType, BytesType, EnumType, FormType, PrimitiveType, StructType, Type
from tachyon._forms import EMPTY, RAW, Form, Many, OneStruct, OneValue
from tachyon._layout import PRIMITIVES, EnumLayout, FixedBytes, FixedStr, Layout
from tachyon._names import OF_ENUMS, OF_STRUCTS, field_names, normal, python_name, wire_name
from tachyon._struct import Struct, StructLayout
from tachyon.errors import TachyonError


class JsonError(TachyonError, ValueError):
    """JSON that is not what an endpoint takes."""


def form_of(described: FormType) -> Form:
    """Make the form that a description tells of."""
    if described.type is None:
        return EMPTY if described.form == "empty" else RAW
    made = layout_of(described.type)
    if described.form == "slice":
        return Many(made)
    return OneStruct(made.cls) if isinstance(made, StructLayout) else OneValue(made)


def layout_of(described: Type) -> Layout:  # noqa: PLR0911 - one for each kind
    """Make the layout that a description tells of."""
    match described:
        case PrimitiveType(name):
            return PRIMITIVES[name]
        case BytesType("bytes", length):
            return FixedBytes(length)
        case BytesType(_, length):
            return FixedStr(length)
        case ArrayType(PrimitiveType("u8"), length):
            return FixedBytes(length)
        case ArrayType(of, length):
            return ArrayLayout(layout_of(of), length)
        case EnumType(name, _, number, variants):
            members = cast(
                "type[enum.IntEnum]", enum.IntEnum(name, [(python_name(own, OF_ENUMS), at) for own, at in variants])
            )
            return EnumLayout(members, PRIMITIVES[number])
        case StructType(name, _, _, _, fields):
            names = field_names(field.name for field in fields)
            layouts = [layout_of(field.type) for field in fields]
            # A Struct's layout is no hint, and its class is.
            hints = {
                own: made.cls if isinstance(made, StructLayout) else made
                for own, made in zip(names, layouts, strict=True)
            }
            namespace: dict[str, Any] = {"__annotations__": hints, "__module__": __name__}
            metaclass: Any = type(Struct)
            made: Layout = metaclass(name, (Struct,), namespace).__layout__
            return made


def from_json(form: Form, value: Any, place: str) -> Any:
    """Make what an endpoint takes of JSON, or raise JsonError naming the place that is wrong."""
    if isinstance(form, OneStruct):
        return _value(form.struct.__layout__, value, place)
    if isinstance(form, OneValue):
        return _value(form.layout, value, place)
    if isinstance(form, Many):
        return [_value(form.of, each, f"{place}[{at}]") for at, each in enumerate(_expect(list, value, place))]
    if form is EMPTY:
        if value is not None:
            message = f"{place} is empty; leave the JSON out"
            raise JsonError(message)
        return None
    return _expect(str, value, place).encode()


def _value(layout: Layout, value: Any, place: str) -> Any:
    if isinstance(layout, StructLayout):
        return _struct(layout, _expect(dict, value, place), place)
    if isinstance(layout, ArrayLayout):
        return [_value(layout.of, each, f"{place}[{at}]") for at, each in enumerate(_expect(list, value, place))]
    if isinstance(layout, FixedBytes):
        try:
            return bytes.fromhex(_expect(str, value, place))
        except ValueError:
            message = f"{place} is {layout.size} bytes, two hexadecimal digits each"
            raise JsonError(message) from None
    if isinstance(layout, EnumLayout) and isinstance(value, str):
        names = {wire_name(member.name, OF_ENUMS): member for member in layout.members}
        if normal(value) not in names:
            message = f"{place} is one of {', '.join(names)}, not {value!r}"
            raise JsonError(message)
        return names[normal(value)]
    return value


def _struct(layout: StructLayout, given: dict[str, Any], place: str) -> Any:
    given = {normal(name): value for name, value in given.items()}
    own = {wire_name(name, OF_STRUCTS): field for name, field in layout.by_name.items()}
    for name in own:
        if name not in given:
            message = f"{place} is an object of {', '.join(own)}, and `{name}` is missing"
            raise JsonError(message)
    for name in given:
        if name not in own:
            message = f"{place} is an object of {', '.join(own)}, and has no `{name}`"
            raise JsonError(message)
    made = {field.name: _value(field.layout, given[name], f"{place}.{name}") for name, field in own.items()}
    make: Any = layout.cls
    return make(**made)


def _expect(kind: type, value: Any, place: str) -> Any:
    if isinstance(value, kind):
        return value
    words = {"list": "an array", "dict": "an object", "str": "a string"}
    message = f"{place} is {words[kind.__name__]}, not {type(value).__name__}"
    raise JsonError(message)


def to_json(value: Any) -> Any:
    """Make a reply into what the json module writes."""
    if isinstance(value, Struct):
        return {wire_name(name, OF_STRUCTS): to_json(getattr(value, name)) for name in value.__layout__.by_name}
    if isinstance(value, Array):
        return [to_json(each) for each in list[Any](value)]  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, enum.IntEnum):
        return wire_name(value.name, OF_ENUMS)
    return value.hex() if isinstance(value, bytes) else value
