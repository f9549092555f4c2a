"""The endpoints of a callee, as data."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from tachyon._names import normal
from tachyon.errors import ErrorKind, TachyonError

if TYPE_CHECKING:
    from collections.abc import Iterator


class DescriptionError(TachyonError, ValueError):
    """A text that is no description of a callee."""


@dataclass(frozen=True)
class PrimitiveType:
    """A number or a bool."""

    name: str


@dataclass(frozen=True)
class TextType:
    """UTF-8 text of any length."""

    name: Literal["str"] = "str"


@dataclass(frozen=True)
class ArrayType:
    """`length` values of one fixed type."""

    of: Type
    length: int

    @property
    def name(self) -> str:
        """The type in the words of error texts, the same as in Rust."""
        return f"[{self.of.name}; {self.length}]"


@dataclass(frozen=True)
class BytesType:
    """`length` bytes, or text of at most `length` bytes."""

    kind: Literal["bytes", "str"]
    length: int

    @property
    def name(self) -> str:
        """The kind and the length."""
        return f"{self.kind}[{self.length}]"


@dataclass(frozen=True)
class ListType:
    """Any number of values of one type."""

    of: Type

    @property
    def name(self) -> str:
        """The type in the words of error texts, the same as in Rust."""
        return f"list[{self.of.name}]"


@dataclass(frozen=True)
class TensorType:
    """Numbers in a fixed number of dimensions."""

    of: PrimitiveType
    ndim: int

    @property
    def name(self) -> str:
        """The type in the words of error texts, the same as in Rust."""
        return f"tensor[{self.of.name}, {self.ndim}]"


@dataclass(frozen=True)
class OptionType:
    """A value, or None."""

    of: Type

    @property
    def name(self) -> str:
        """The type in the words of error texts, the same as in Rust."""
        return f"option[{self.of.name}]"


@dataclass(frozen=True)
class FieldType:
    """One field of a struct or of a head."""

    name: str
    type: Type
    offset: int
    default: bool = False
    """Whether the field, which is no option, has a default for a head that ends before it."""


# Types with a name are equal if they are the same object: a description holds each of them once. Comparing, hashing and
# showing by value would repeat a shared type at each of its places.


@dataclass(frozen=True, eq=False)
class StructType:
    """A fixed payload: contiguous fields. A name that begins with an underscore is padding."""

    name: str
    doc: str
    size: int
    align: int
    fields: tuple[FieldType, ...] = field(repr=False)


@dataclass(frozen=True, eq=False)
class HeadType:
    """Fields behind a head of `head` bytes: a variable payload, an error, or arguments, which have no name."""

    name: str
    doc: str
    head: int
    fields: tuple[FieldType, ...] = field(repr=False)

    def __str__(self) -> str:
        """Show the fields as parameters."""
        return ", ".join(f"{each.name}: {each.type.name}" for each in self.fields)


@dataclass(frozen=True, eq=False)
class ErrorType(HeadType):
    """A declared error."""

    kind: ErrorKind = ErrorKind.HANDLER_FAILED


@dataclass(frozen=True, eq=False)
class EnumType:
    """One of a set of numbers."""

    name: str
    doc: str
    repr: str
    variants: tuple[tuple[str, int], ...]


Type: TypeAlias = (
    PrimitiveType
    | TextType
    | ArrayType
    | BytesType
    | ListType
    | TensorType
    | OptionType
    | StructType
    | HeadType
    | EnumType
)


@dataclass(frozen=True)
class FormType:
    """The form of a request, a reply or an item: `value` has a type, `fields` a head."""

    form: Literal["empty", "bytes", "value", "fields", "msgpack"]
    type: Type | None = None
    head: HeadType | None = None

    def __str__(self) -> str:
        """Show the type, or the fields as parameters."""
        if self.head is not None:
            return str(self.head)
        return self.form if self.type is None else self.type.name

    @property
    def single(self) -> str:
        """The form of a reply or an item in words: one that is an option has the one field `value`."""
        return str(self) if self.head is None else self.head.fields[0].type.name


EndpointKind: TypeAlias = Literal["unary", "server stream", "client stream", "two-way stream"]


@dataclass(frozen=True)
class EndpointType:
    """One endpoint."""

    msg_type: int
    name: str
    doc: str
    request: FormType
    reply: FormType
    raises: tuple[ErrorType, ...] = ()
    items: FormType | None = None
    """The form of the caller's items; None if the caller sends a request alone."""
    streams: bool = False
    """Whether the replies are a stream."""

    @property
    def kind(self) -> EndpointKind:
        """The streams of the endpoint, in the same words as in Rust."""
        if self.items is None:
            return "server stream" if self.streams else "unary"
        return "two-way stream" if self.streams else "client stream"

    def __str__(self) -> str:
        """Show the endpoint as a signature, in the same words as in Rust."""
        takes = [] if self.request.form == "empty" else [str(self.request)]
        if self.items is not None:
            takes.append(f"items: stream of {self.items.single}")
        gives = "" if self.reply.form == "empty" else f" -> {self.reply.single}"
        if self.streams:
            gives = f" -> stream of {self.reply.single}"
        raises = f" raises {', '.join(error.name for error in self.raises)}" if self.raises else ""
        return f"{self.name}({', '.join(takes)}){gives}{raises}"


class CalleeLimits(NamedTuple):
    """The longest messages of a callee, and the version of its description."""

    max_request: int
    """Length of the longest possible request, in bytes."""
    max_reply: int
    """Length of the longest possible reply, in bytes."""
    version: int
    """A number that is the same as long as the description of all endpoints is."""


@dataclass(frozen=True)
class Description:
    """The endpoints of a callee, by ascending message type."""

    endpoints: tuple[EndpointType, ...]
    json: str
    """The description in JSON, as it came."""

    def __iter__(self) -> Iterator[EndpointType]:
        """Go through the endpoints."""
        return iter(self.endpoints)

    def __len__(self) -> int:
        """Count the endpoints."""
        return len(self.endpoints)

    def __getitem__(self, name: str | int) -> EndpointType:
        """Find an endpoint by name or message type."""
        wanted = normal(name) if isinstance(name, str) else name
        for endpoint in self.endpoints:
            if wanted in {endpoint.name, endpoint.msg_type}:
                return endpoint
        raise KeyError(name)


def from_json(text: str) -> Description:
    """Read a description of any known schema, or raise DescriptionError with the fault."""
    from tachyon._tachyon import read_description  # noqa: PLC0415 - the extension imports this module

    try:
        # The rules are in Rust, which returns a valid description in the latest schema.
        found: dict[str, Any] = json.loads(read_description(text))
    except ValueError as error:
        raise DescriptionError(str(error)) from None
    types: list[Type] = []
    for each in found["types"]:
        types.append(_type(each, types))
    return Description(tuple(_endpoint(endpoint, types) for endpoint in found["endpoints"]), text)


def _endpoint(found: dict[str, Any], types: list[Type]) -> EndpointType:
    return EndpointType(
        found["msg_type"],
        # Any text: Rust registers closures under any name.
        normal(found["name"]),
        found.get("doc", ""),
        _form(found["request"], types),
        _form(found["reply"], types),
        tuple(_error(error, types) for error in found.get("raises", ())),
        _form(found["items"], types) if "items" in found else None,
        found.get("stream", False),
    )


_KINDS = {kind.word: kind for kind in ErrorKind}


def _error(found: dict[str, Any], types: list[Type]) -> ErrorType:
    head = _head(found, _name(found["name"]), types)
    kind = _KINDS.get(found.get("kind", ""), ErrorKind.HANDLER_FAILED)
    return ErrorType(head.name, head.doc, head.head, head.fields, kind)


def _form(found: dict[str, Any], types: list[Type]) -> FormType:
    form = found["form"]
    if form == "value":
        return FormType(form, _type(found["type"], types))
    return FormType(form, head=_head(found, "", types)) if form == "fields" else FormType(form)


def _head(found: dict[str, Any], name: str, types: list[Type]) -> HeadType:
    # A head without fields holds only its length.
    return HeadType(name, found.get("doc", ""), found.get("head", 4), _fields(found.get("fields", ()), types))


def _fields(found: list[dict[str, Any]], types: list[Type]) -> tuple[FieldType, ...]:
    return tuple(
        FieldType(_name(each["name"]), _type(each["type"], types), each["offset"], each.get("default", False))
        for each in found
    )


def _type(found: str | dict[str, Any], types: list[Type]) -> Type:  # noqa: PLR0911 - one for each kind
    if isinstance(found, str):
        return TextType() if found == "str" else PrimitiveType(found)
    if "ref" in found:
        at: int = found["ref"]
        return types[at]
    if "list" in found:
        return ListType(_type(found["list"], types))
    if "option" in found:
        return OptionType(_type(found["option"], types))
    if "tensor" in found:
        return TensorType(PrimitiveType(found["tensor"]), found["ndim"])
    kind = found["kind"]
    if kind == "array":
        return ArrayType(_type(found["of"], types), found["len"])
    return BytesType(kind, found["len"]) if kind in {"bytes", "str"} else _named(found, types)


def _named(found: dict[str, Any], types: list[Type]) -> Type:
    name, doc = _name(found["name"]), found.get("doc", "")
    if found["kind"] == "enum":
        variants = tuple((_name(variant["name"]), variant["value"]) for variant in found["variants"])
        if found["repr"] in {"f32", "f64", "bool"}:
            message = f"{name} is an enum of {found['repr']}, and an enum is a whole number"
            raise DescriptionError(message)
        return EnumType(name, doc, found["repr"], variants)
    if "head" in found:
        return _head(found, name, types)
    return StructType(name, doc, found["size"], found["align"], _fields(found["fields"], types))


def _name(found: str) -> str:
    # Generated code has these names, from any peer: each must be an identifier, in the form of Python.
    if found.isidentifier():
        return normal(found)
    message = f"{found!r} is no name"
    raise DescriptionError(message)
