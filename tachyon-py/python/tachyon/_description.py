"""What a callee says about its endpoints, as data."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from tachyon._names import normal
from tachyon.errors import TachyonError

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA: Final = 1

# The deepest that objects and lists are nested in what any callee of ours writes, as in Rust.
_DEEPEST: Final = 40


class DescriptionError(TachyonError, ValueError):
    """Not the description of a callee."""


@dataclass(frozen=True)
class PrimitiveType:
    """A number or a bool."""

    name: str


@dataclass(frozen=True)
class ArrayType:
    """`length` times the same type."""

    of: Type
    length: int

    @property
    def name(self) -> str:
        """The type as in Rust."""
        return f"[{self.of.name}; {self.length}]"


@dataclass(frozen=True)
class BytesType:
    """`length` bytes, or as many of text."""

    kind: Literal["bytes", "str"]
    length: int

    @property
    def name(self) -> str:
        """The kind and the length."""
        return f"{self.kind}[{self.length}]"


@dataclass(frozen=True)
class FieldType:
    """One field of a struct; padding if its name begins with an underscore."""

    name: str
    type: Type
    offset: int
    size: int


@dataclass(frozen=True)
class StructType:
    """Fields one after the other."""

    name: str
    doc: str
    size: int
    align: int
    fields: tuple[FieldType, ...]


@dataclass(frozen=True)
class EnumType:
    """One of a set of numbers."""

    name: str
    doc: str
    repr: str
    variants: tuple[tuple[str, int], ...]


Type: TypeAlias = PrimitiveType | ArrayType | BytesType | StructType | EnumType


@dataclass(frozen=True)
class FormType:
    """What a request or a reply consists of: `type` for one, for any number; none for `empty` and `bytes`."""

    form: Literal["empty", "bytes", "payload", "slice"]
    type: Type | None = None

    def __str__(self) -> str:
        """Show it in one word."""
        if self.type is None:
            return self.form
        return f"[{self.type.name}]" if self.form == "slice" else self.type.name


@dataclass(frozen=True)
class EndpointType:
    """One endpoint."""

    msg_type: int
    name: str
    doc: str
    request: FormType
    reply: FormType


@dataclass(frozen=True)
class Description:
    """What a callee offers, by ascending message type."""

    endpoints: tuple[EndpointType, ...]
    json: str
    """The same as it came."""

    def __iter__(self) -> Iterator[EndpointType]:
        """Go through the endpoints."""
        return iter(self.endpoints)

    def __len__(self) -> int:
        """Count the endpoints."""
        return len(self.endpoints)

    def __getitem__(self, name: str | int) -> EndpointType:
        """Find an endpoint by its name, or by its message type."""
        wanted = normal(name) if isinstance(name, str) else name
        for endpoint in self.endpoints:
            if wanted in {endpoint.name, endpoint.msg_type}:
                return endpoint
        raise KeyError(name)


def from_json(text: str) -> Description:
    """Read a description, or raise DescriptionError saying what is wrong with it."""
    _refuse_deeper(text)
    try:
        found: Any = json.loads(text)
        _refuse_later(found["schema"])
        endpoints = tuple(_endpoint(endpoint) for endpoint in found["endpoints"])
    except DescriptionError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        message = f"this is not the description of a callee: {type(error).__name__} {error}"
        raise DescriptionError(message) from None
    return Description(endpoints, text)


def _refuse_deeper(text: str) -> None:
    depth = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', text, re.DOTALL):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        if depth > _DEEPEST:
            message = f"this is not the description of a callee: it is nested more than {_DEEPEST} deep"
            raise DescriptionError(message)


def _refuse_later(schema: object) -> None:
    if not isinstance(schema, int) or schema > SCHEMA:
        message = f"the description has schema {schema} and this version reads up to {SCHEMA}; update this side"
        raise DescriptionError(message)


def _endpoint(found: dict[str, Any]) -> EndpointType:
    doc = _text(found.get("doc", ""))
    msg_type, name = _number(found["msg_type"]), found["name"]
    if not isinstance(name, str):
        message = f"{name!r} is no name"
        raise DescriptionError(message)
    # Any text will do: a closure in Rust is registered under any.
    name = normal(_text(name))
    return EndpointType(msg_type, name, doc, _form(found["request"]), _form(found["reply"]))


def _form(found: dict[str, Any]) -> FormType:
    form = found["form"]
    if form in {"payload", "slice"}:
        return FormType(form, _type(found["layout"]))
    if form in {"empty", "bytes"}:
        return FormType(form)
    message = f"there is no form {form!r}"
    raise DescriptionError(message)


_NUMBERS: Final = {"u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f32", "f64", "bool"}


def _type(found: str | dict[str, Any]) -> Type:
    if isinstance(found, str):
        if found in _NUMBERS:
            return PrimitiveType(found)
        message = f"there is no number {found!r}"
        raise DescriptionError(message)
    kind = found["kind"]
    if kind == "array":
        return ArrayType(_type(found["of"]), _number(found["len"]))
    if kind in {"bytes", "str"}:
        return BytesType(cast("Literal['bytes', 'str']", kind), _number(found["len"]))
    name, doc = _name(found["name"]), _text(found.get("doc", ""))
    if kind == "struct":
        fields = tuple(
            FieldType(_name(field["name"]), _type(field["type"]), _number(field["offset"]), _number(field["size"]))
            for field in found["fields"]
        )
        return StructType(name, doc, _number(found["size"]), _number(found["align"]), fields)
    if kind == "enum":
        variants = tuple((_name(variant["name"]), _number(variant["value"])) for variant in found["variants"])
        if found["repr"] not in _NUMBERS - {"f32", "f64", "bool"}:
            message = f"{name} is an enum of {found['repr']!r}"
            raise DescriptionError(message)
        return EnumType(name, doc, found["repr"], variants)
    message = f"there is no kind {kind!r}"
    raise DescriptionError(message)


def _number(found: object) -> int:
    if type(found) is int and -(1 << 63) <= found < 1 << 64:
        return found
    message = f"{found!r} is no whole number of 64 bits"
    raise DescriptionError(message)


def _text(found: object) -> str:
    # JSON can spell halves of characters, which no encoding writes.
    return str(found).encode(errors="replace").decode()


def _name(found: object) -> str:
    # What becomes a name in generated code is one, whoever sent it, and the one that Python takes it for.
    if isinstance(found, str) and found.isidentifier():
        return normal(found)
    message = f"{found!r} is no name"
    raise DescriptionError(message)
