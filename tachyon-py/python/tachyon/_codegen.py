"""A module of Structs and endpoints from a callee's description."""

from __future__ import annotations

import keyword
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
from tachyon._names import python_name

# The width that formatters wrap at unless told otherwise.
_WIDTH: Final = 88
# What the generated module itself refers to.
_USED: Final = ("tachyon", "Annotated", "NotImplementedError", "None", "bytes", "memoryview", "str")


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
        self._names: dict[StructType | EnumType, str] = {}

    def _claim(self, wanted: str) -> str:
        plain = wanted + "_" if keyword.iskeyword(wanted) else wanted
        name, number = plain, 2
        while name in self._taken:
            name, number = f"{plain}{number}", number + 1
        self._taken.add(name)
        return name

    def endpoint(self, endpoint: EndpointType) -> str:
        request, reply = self._form(endpoint.request, "memoryview"), self._form(endpoint.reply, "bytes")
        name = self._claim(endpoint.name)
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
        end = 0
        names: set[str] = set()
        for field in struct.fields:
            place = f"field `{field.name}` of {struct.name}"
            if field.offset != end:
                message = f"{place} is at offset {field.offset} and the one before it ends at {end}; that is no payload"
                raise DescriptionError(message)
            end += field.size
            padding = field.name.startswith("_")
            # Two underscores would be mangled, and the name of padding means nothing.
            name = "_" + field.name.strip("_") if padding else python_name(field.name)
            while name in names or name == "_":
                name += "_"
            names.add(name)
            lines.append(f"    {name}: {self._type(field.type, place)}{' = tachyon.pad()' if padding else ''}")
        if end != struct.size or not lines:
            message = f"{struct.name} has {struct.size} bytes and its fields have {end}; that is no payload"
            raise DescriptionError(message)
        return lines


def _enum(found: EnumType) -> list[str]:
    for name, _ in found.variants:
        if name.startswith("_"):
            message = f"variant `{name}` of {found.name} begins with an underscore, which no member in Python does"
            raise DescriptionError(message)
    return [f"    {python_name(name)} = {value}" for name, value in found.variants]


def _doc(text: str) -> list[str]:
    """Write a docstring, whatever is in it."""
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    kept = "".join(letter if letter.isprintable() or letter == "\n" else _escape(letter) for letter in escaped)
    lines = [line.rstrip() for line in kept.strip().split("\n")]
    if lines == [""]:
        return []
    if lines[-1].endswith('"'):
        lines[-1] = lines[-1][:-1] + '\\"'
    indented = [f"    {line}" if line else "" for line in lines]
    indented[0] = f'    """{lines[0]}'
    if len(lines) == 1:
        return [indented[0] + '"""']
    return [*indented, '    """']


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
