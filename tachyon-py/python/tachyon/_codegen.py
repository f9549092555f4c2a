"""A module of Structs and endpoints from a callee's description."""

from __future__ import annotations

import keyword
import re
from typing import Final

from tachyon._description import (
    ArrayType,
    BytesType,
    Description,
    DescriptionError,
    EndpointType,
    EnumType,
    FormType,
    PrimitiveType,
    StructType,
    Type,
)
from tachyon._names import OF_ENUMS, field_names, is_padding, normal, python_name
from tachyon._printable import printable

# The width that formatters wrap at unless told otherwise.
_WIDTH: Final = 88
# What the generated module itself refers to.
_USED: Final = ("tachyon", "Annotated", "NotImplementedError", "None", "bytes", "memoryview", "str")
# 65535 marks error replies.
_LAST_MSG_TYPE: Final = 65534
# A Struct keeps zeros of its size, and no message is longer.
_LARGEST: Final = 1 << 30
_SIZES: Final = {
    "u8": 1,
    "i8": 1,
    "bool": 1,
    "u16": 2,
    "i16": 2,
    "u32": 4,
    "i32": 4,
    "f32": 4,
    "u64": 8,
    "i64": 8,
    "f64": 8,
}


def python(description: Description) -> str:
    """Write the module, as `ruff format` leaves it."""
    writer = _Writer()
    endpoints = [writer.endpoint(endpoint) for endpoint in description]
    head = ['"""Generated from a callee\'s description by `tachyon codegen python`."""', ""]
    if writer.annotates:
        head += ["from typing import Annotated", ""]
    head += ["import tachyon"]
    parts = ["\n".join(head), *writer.types, *endpoints]
    return "\n\n\n".join(parts) + "\n"


class _Writer:
    def __init__(self) -> None:
        self.types: list[str] = []
        self.annotates = False
        self._taken: set[str] = set(_USED)
        # Per name that was asked for again the number to try next: a description may ask for one a million times.
        self._next: dict[str, int] = {}
        self._names: dict[StructType | EnumType, str] = {}

    def _claim(self, wanted: str) -> str:
        # Names that begin with underscores are a module's own (`__builtins__`), mangled in a class, or padding's.
        plain = re.sub(r"\W", "_", normal(wanted)).strip("_") if not wanted.isidentifier() else wanted.lstrip("_")
        plain = plain if plain.isidentifier() else f"name{plain}"
        plain += "_" if keyword.iskeyword(plain) else ""
        name, number = plain, self._next.get(plain, 2)
        while name in self._taken:
            name, number = f"{plain}{number}", number + 1
        self._next[plain] = number
        self._taken.add(name)
        return name

    def endpoint(self, endpoint: EndpointType) -> str:
        if not 0 <= endpoint.msg_type <= _LAST_MSG_TYPE:
            message = f"{endpoint.name} has message type {endpoint.msg_type}, and they go from 0 to {_LAST_MSG_TYPE}"
            raise DescriptionError(message)
        request, reply = self._form(endpoint.request, "memoryview"), self._form(endpoint.reply, "bytes")
        # The name of a closure in Rust is any text.
        name = self._claim(endpoint.name if re.search(r"\w", endpoint.name) else f"endpoint_{endpoint.msg_type}")
        parameter = "" if request == "None" else f"request: {request}"
        head = f"def {name}({parameter}) -> {reply}:"
        if len(head) > _WIDTH:
            inner = f"\n    {parameter},\n" if parameter else ""
            head = f"def {name}({inner}) -> {reply}:"
        lines = [f"@tachyon.tachyon_rpc(msg_type={endpoint.msg_type})", head]
        return "\n".join([*lines, *_doc(endpoint.doc), "    raise NotImplementedError"])

    def _form(self, form: FormType, raw: str) -> str:
        if form.type is None:
            return "None" if form.form == "empty" else raw
        written = self._type(form.type, "a reply or a request")
        return f"tachyon.Array[{written}]" if form.form == "slice" else written

    def _type(self, found: Type, place: str) -> str:
        match found:
            case PrimitiveType(name):
                return f"tachyon.{name}"
            case ArrayType(_, length) | BytesType(_, length) if length < 1:
                message = f"{place} is a {found.name}, and there is no such thing in Python: it has no bytes"
                raise DescriptionError(message)
            case ArrayType() | BytesType() if _extent(found)[0] > _LARGEST:
                message = f"{place} is a {found.name}, which is longer than any message"
                raise DescriptionError(message)
            case ArrayType(PrimitiveType("u8"), length):
                return self._annotated("bytes", length)
            case ArrayType(of, length):
                return self._annotated(f"tachyon.Array[{self._type(of, place)}]", length)
            case BytesType(kind, length):
                return self._annotated(kind, length)
            case _:
                return self._named(found)

    def _annotated(self, plain: str, length: int) -> str:
        self.annotates = True
        return f"Annotated[{plain}, {length}]"

    def _named(self, found: StructType | EnumType) -> str:
        if found not in self._names:
            body = self._struct(found) if isinstance(found, StructType) else _enum(found)
            name = self._names[found] = self._claim(found.name)
            base = "tachyon.Struct" if isinstance(found, StructType) else f'tachyon.IntEnum, repr="{found.repr}"'
            doc = _doc(found.doc)
            self.types.append("\n".join([f"class {name}({base}):", *doc, *([""] if doc else []), *body]))
        return self._names[found]

    def _struct(self, struct: StructType) -> list[str]:
        lines: list[str] = []
        end, aligned = 0, 1
        # A field that has the name of a type would hide it from the hints after it.
        used = frozenset({*_USED, *self._names.values()})
        names = field_names((field.name for field in struct.fields), used)
        for field, name in zip(struct.fields, names, strict=True):
            place = f"field `{field.name}` of {struct.name}"
            if field.offset != end:
                message = f"{place} is at offset {field.offset} and the one before it ends at {end}; that is no payload"
                raise DescriptionError(message)
            size, align = _extent(field.type)
            if size != field.size or field.offset % align:
                message = f"{place} has {field.size} bytes at offset {field.offset}, which no {field.type.name} has"
                raise DescriptionError(message)
            end += size
            aligned = max(aligned, align)
            lines.append(f"    {name}: {self._type(field.type, place)}{' = tachyon.pad()' if is_padding(name) else ''}")
        if end != struct.size or not lines:
            message = f"{struct.name} has {struct.size} bytes and its fields have {end}; that is no payload"
            raise DescriptionError(message)
        if struct.align != aligned or end % aligned or end > _LARGEST:
            message = f"{struct.name} has {end} bytes aligned to {struct.align}; that is no payload"
            raise DescriptionError(message)
        return lines


def _extent(found: Type) -> tuple[int, int]:
    """Give how long a type is, and what its offset is a multiple of."""
    match found:
        case PrimitiveType(name):
            return _SIZES[name], _SIZES[name]
        case EnumType():
            return _SIZES[found.repr], _SIZES[found.repr]
        case ArrayType(of, length):
            size, align = _extent(of)
            return size * length, align
        case BytesType(_, length):
            return length, 1
        case StructType():
            # Neither is believed before the struct was written.
            return found.size, max(found.align, 1)


def _enum(found: EnumType) -> list[str]:
    bits = _SIZES[found.repr] * 8
    least = -(1 << (bits - 1)) if found.repr.startswith("i") else 0
    names, values = {python_name(name, OF_ENUMS) for name, _ in found.variants}, {value for _, value in found.variants}
    if not names or not len(names) == len(values) == len(found.variants):
        message = f"{found.name} has no variants, or has a name or a value twice; that is no enum"
        raise DescriptionError(message)
    for name, value in found.variants:
        if not least <= value < least + (1 << bits):
            message = f"variant `{name}` of {found.name} is {value}, which is no {found.repr}"
            raise DescriptionError(message)
        if name.startswith("_"):
            message = f"variant `{name}` of {found.name} begins with an underscore, which no member in Python does"
            raise DescriptionError(message)
    return [f"    {python_name(name, OF_ENUMS)} = {value}" for name, value in found.variants]


def _shown(line: str) -> str:
    """Write a line of documentation, which is no example that doctest would run."""
    return printable(re.sub(r"^(\s*)>>>", r"\1>> >", line)).rstrip()


def _doc(text: str) -> list[str]:
    """Write a docstring, whatever is in it."""
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    lines = [_shown(line) for line in escaped.strip().split("\n")]
    if lines == [""]:
        return []
    # Backslashes before the last quote are pairs, unless the quote is escaped already.
    if re.search(r'(?<!\\)(?:\\\\)*"$', lines[-1]):
        lines[-1] = lines[-1][:-1] + '\\"'
    indented = [f"    {line}" if line else "" for line in lines]
    indented[0] = f'    """{lines[0]}'
    if len(lines) == 1:
        return [indented[0] + '"""']
    return [*indented, '    """']
