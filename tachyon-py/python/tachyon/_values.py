"""Values as JSON, for the command line.

A Struct is an object, an enum its name, bytes are hexadecimal, a tensor is nested arrays.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, cast

from tachyon._array import Array, ArrayLayout, ListLayout
from tachyon._description import (
    ArrayType,
    BytesType,
    EnumType,
    FormType,
    HeadType,
    ListType,
    OptionType,
    PrimitiveType,
    StructType,
    TensorType,
    TextType,
    Type,
)
from tachyon._forms import EMPTY, RAW, Form, whole
from tachyon._layout import (
    PRIMITIVES,
    TEXT,
    EnumLayout,
    FixedBytes,
    FixedStr,
    HeadField,
    HeadLayout,
    Layout,
    OptionLayout,
    StructLayout,
)
from tachyon._msgpack import untyped
from tachyon._names import OF_ENUMS, OF_STRUCTS, field_names, normal, python_name, wire_name
from tachyon._struct import Struct
from tachyon._tensor import TensorLayout
from tachyon.errors import TachyonError

if TYPE_CHECKING:
    from collections.abc import Mapping


class JsonError(TachyonError, ValueError):
    """JSON of another type than the endpoint's."""


def form_of(described: FormType, name: str) -> Form:
    """Make the form of a described request or reply; error texts call it `name`."""
    makes = _Maker()
    if described.head is not None:
        return Form("fields", HeadLayout(name, makes.fields(described.head, "", name)))
    if described.form == "msgpack":
        return Form("msgpack", codec=untyped())
    if described.type is None:
        return EMPTY if described.form == "empty" else RAW
    return whole(makes.layout(described.type))


class _Maker:
    """Makes the types of a description, each once."""

    def __init__(self) -> None:
        # The described types too: the address of a live object is unique.
        self._made: dict[int, tuple[Type, Layout]] = {}

    def layout(self, described: Type) -> Layout:
        """Make the type of a described type."""
        if (known := self._made.get(id(described))) is None:
            known = self._made[id(described)] = described, self._layout(described)
        return known[1]

    def _layout(self, described: Type) -> Layout:  # noqa: C901, PLR0911 - one for each kind
        match described:
            case PrimitiveType(name):
                return PRIMITIVES[name]
            case TextType():
                return TEXT
            case BytesType(kind, length):
                return FixedBytes(length) if kind == "bytes" else FixedStr(length)
            case ArrayType(PrimitiveType("u8"), length):
                return FixedBytes(length)
            case ArrayType(of, length):
                return ArrayLayout(self.layout(of), length)
            case ListType(of):
                return ListLayout(self.layout(of), "bytes" if of == PrimitiveType("u8") else "list")
            case TensorType(of, ndim):
                return TensorLayout(PRIMITIVES[of.name], ndim, is_list=True)
            case OptionType(of):
                return OptionLayout(self.layout(of))
            case EnumType(name, _, number, variants):
                named = [(python_name(own, OF_ENUMS), at) for own, at in variants]
                return EnumLayout(cast("type[enum.IntEnum]", enum.IntEnum(name, named)), PRIMITIVES[number])
            case StructType() | HeadType():
                return self._struct(described)

    def _struct(self, described: StructType | HeadType) -> Layout:
        names = field_names(field.name for field in described.fields)
        layouts = {name: self.layout(field.type) for name, field in zip(names, described.fields, strict=True)}
        # The hint of a Struct is its class, not its layout.
        hints = {
            name: found.cls if isinstance(found, (StructLayout, HeadLayout)) else found
            for name, found in layouts.items()
        }
        namespace: dict[str, Any] = {"__annotations__": hints, "__module__": __name__}
        namespace |= {name: None for name, found in layouts.items() if isinstance(found, OptionLayout)}
        metaclass: Any = type(Struct)
        made = metaclass(described.name, (Struct,), namespace, extensible=isinstance(described, HeadType))
        return cast("Layout", made.__layout__)

    def fields(self, described: HeadType, owner: str, name: str) -> list[HeadField]:
        """Make the fields of a head without a class."""
        return [
            HeadField(field.name, f"{owner}{field.name} of {name}", self.layout(field.type), field.default)
            for field in described.fields
        ]


def encode(form: Form, value: Any, place: str) -> bytes:
    """Give the message of a JSON value, or raise JsonError, or the error of a Struct, naming the place."""
    if form.codec is not None:
        return form.codec[0](_expect(dict, {} if value is None else value, place))
    if form.layout is None:
        if form is RAW:
            return cast("bytes", _expect(str, value, place).encode())
        if value is not None:
            message = f"{place} is empty; leave out the JSON"
            raise JsonError(message)
        return b""
    if not isinstance(form.layout, HeadLayout) or form.kind != "fields":
        return form.layout.plan.encode(_value(form.layout, value, place), place)
    fields = form.layout.fields
    if len(fields) == 1:
        values = [_value(fields[0].layout, value, place)]
    else:
        given = _expect(dict, {} if value is None else value, place)
        _check_names(given, {field.name: field for field in fields}, place)
        values = [_value(field.layout, given.get(field.name), f"{place}.{field.name}") for field in fields]
    return form.layout.plan.encode_fields(values)


def encode_item(form: Form, value: Any, place: str) -> bytes:
    """As `encode`, for an item, which is one value and no object of arguments."""
    return encode(form, value, place) if form.codec is None else form.codec[0](value)


def decode(form: Form, data: bytes, place: str) -> Any:
    """Convert a reply to a value that the json module writes."""
    if form.codec is not None:
        return form.codec[1](data)
    if form.layout is None:
        return None
    value = form.layout.plan.decode(data, place)
    return to_json(value[0] if form.kind == "fields" else value)


def _check_names(given: Mapping[str, Any], own: Mapping[str, HeadField | Layout], place: str) -> None:
    for name, field in own.items():
        found = field if isinstance(field, Layout) else field.layout
        if name not in given and not isinstance(found, OptionLayout):
            message = f"{place} is an object of {', '.join(own)}, and `{name}` is missing"
            raise JsonError(message)
    for name in given:
        if name not in own:
            message = f"{place} is an object of {', '.join(own)}, and has no `{name}`"
            raise JsonError(message)


def _value(layout: Layout, value: Any, place: str) -> Any:
    if isinstance(layout, OptionLayout):
        return None if value is None else _value(layout.of, value, place)
    if isinstance(layout, (StructLayout, HeadLayout)):
        return _struct(layout.cls, _expect(dict, value, place), place)
    if isinstance(layout, FixedBytes) or (isinstance(layout, ListLayout) and layout.shown == "bytes"):
        try:
            return bytes.fromhex(_expect(str, value, place))
        except ValueError:
            length = f"{layout.length} bytes" if isinstance(layout, FixedBytes) else "bytes"
            message = f"{place} is {length}, two hexadecimal digits each"
            raise JsonError(message) from None
    if isinstance(layout, (ArrayLayout, ListLayout)):
        return [_value(layout.of, each, f"{place}[{at}]") for at, each in enumerate(_expect(list, value, place))]
    if isinstance(layout, EnumLayout):
        return _member(layout, value, place)
    return value


def _member(layout: EnumLayout, value: Any, place: str) -> Any:
    names = {wire_name(member.name, OF_ENUMS): member for member in layout.members}
    found = names.get(normal(value)) if isinstance(value, str) else None
    if found is None and type(value) is int:
        found = next((member for member in layout.members if int(member) == value), None)
    if found is None:
        message = f"{place} must be one of {', '.join(names)}, not {value!r}"
        raise JsonError(message)
    return found


def _struct(cls: Any, given: dict[str, Any], place: str) -> Any:
    given = {normal(name): value for name, value in given.items()}
    own = {wire_name(name, OF_STRUCTS): field for name, field in cls.__layout__.by_name.items()}
    _check_names(given, {name: field.layout for name, field in own.items()}, place)
    made = {
        field.name: _value(field.layout, given[name], f"{place}.{name}") for name, field in own.items() if name in given
    }
    return cls(**made)


def _expect(kind: type, value: Any, place: str) -> Any:
    if isinstance(value, kind):
        return value
    words = {"list": "an array", "dict": "an object", "str": "a string"}
    message = f"{place} must be {words[kind.__name__]}, not {type(value).__name__}"
    raise JsonError(message)


def to_json(value: Any) -> Any:
    """Convert a value to one that the json module writes."""
    if isinstance(value, Struct):
        return {wire_name(name, OF_STRUCTS): to_json(getattr(value, name)) for name in value.__layout__.by_name}
    if isinstance(value, (Array, list)):
        return [to_json(each) for each in cast("list[Any]", value)]
    if isinstance(value, enum.IntEnum):
        return wire_name(value.name, OF_ENUMS)
    return value.hex() if isinstance(value, bytes) else value
