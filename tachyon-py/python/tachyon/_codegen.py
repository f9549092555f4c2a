"""A Python module of Structs and endpoints from a callee's description."""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING, Final

from tachyon._description import (
    ArrayType,
    BytesType,
    Description,
    DescriptionError,
    EndpointType,
    EnumType,
    ErrorType,
    FieldType,
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
from tachyon._names import OF_ENUMS, OF_STRUCTS, field_names, is_padding, normal, python_name
from tachyon._printable import printable
from tachyon.errors import ErrorKind, RpcError

if TYPE_CHECKING:
    from collections.abc import Container

# The default line width of formatters.
_WIDTH: Final = 88
# Names that the generated module uses.
_USED: Final = (
    *("tachyon", "np", "Annotated", "NotImplementedError", "None", "Iterator"),
    *("bytes", "int", "list", "memoryview", "str", "tuple"),
)
# Attributes of every error of an endpoint.
_OF_ERRORS: Final = frozenset(dir(RpcError)) | frozenset(RpcError.__annotations__)
# 65535 marks error replies.
_LAST_MSG_TYPE: Final = 65534
# A Struct keeps zeros of its size; no message is longer.
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

_NUMPY: Final = {
    "u8": "uint8",
    "i8": "int8",
    "u16": "uint16",
    "i16": "int16",
    "u32": "uint32",
    "i32": "int32",
    "f32": "float32",
    "u64": "uint64",
    "i64": "int64",
    "f64": "float64",
}


def python(description: Description) -> str:
    """Write the module, as `ruff format` leaves it."""
    writer = _Writer()
    endpoints = [writer.endpoint(endpoint) for endpoint in description]
    head = ['"""Generated from a callee\'s description by `tachyon codegen python`."""', ""]
    if writer.streams:
        head += ["from collections.abc import Iterator"]
    if writer.annotates:
        head += ["from typing import Annotated"]
    if writer.streams or writer.annotates:
        head += [""]
    if writer.uses_numpy:
        head += ["import numpy as np", ""]
    head += ["import tachyon"]
    parts = ["\n".join(head), *writer.types, *endpoints]
    return "\n\n\n".join(parts) + "\n"


class _Writer:
    def __init__(self) -> None:
        self.types: list[str] = []
        self.annotates = False
        self.uses_numpy = False
        self.streams = False
        self._taken: set[str] = set(_USED)
        # The next number to try for each name used again: a description may use one name a million times.
        self._next: dict[str, int] = {}
        self._names: dict[StructType | HeadType | EnumType | TensorType, str] = {}
        # The fields of each class of error: an error travels by its name, which cannot get a number.
        self._errors: dict[str, tuple[ErrorKind, tuple[FieldType, ...]]] = {}

    def _claim(self, wanted: str) -> str:
        # A leading underscore marks names of a module (`__builtins__`), names to mangle in a class, and padding.
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
            message = (
                f"{endpoint.name} has message type {endpoint.msg_type}; message types go from 0 to {_LAST_MSG_TYPE}"
            )
            raise DescriptionError(message)
        items = endpoint.items
        if "msgpack" in {endpoint.request.form, endpoint.reply.form, items and items.form}:
            name = printable(endpoint.name).replace("\n", " ")
            return (
                f"# `{name}` (msg_type {endpoint.msg_type}) is left out: a description has no types of\n"
                "# values in msgpack."
            )
        parameters, reply = self._parameters(endpoint.request, items), self._reply(endpoint.reply)
        reply = self._stream(reply) if endpoint.streams else reply
        raises, others = self._raises(endpoint)
        # A closure in Rust may have any text as its name.
        name = self._claim(endpoint.name if re.search(r"\w", endpoint.name) else f"endpoint_{endpoint.msg_type}")
        settings = [f"msg_type={endpoint.msg_type}"]
        doc = endpoint.doc
        if raises:
            settings.append(_wrap("raises=(", [*raises, *([""] if len(raises) == 1 else [])], ")", indent=4))
        if others:
            untyped = f"Errors whose names are no class names arrive untyped: {', '.join(others)}."
            doc = f"{doc.rstrip()}\n\n{untyped}" if doc.strip() else untyped
        lines = [
            _wrap("@tachyon.tachyon_rpc(", settings, ")"),
            _wrap(f"def {name}(", parameters, f") -> {reply}:", defines=True),
        ]
        return "\n".join([*lines, *_doc(doc), "    raise NotImplementedError"])

    def _parameters(self, form: FormType, items: FormType | None) -> list[str]:
        if form.head is None:
            own = [] if form.form == "empty" else [f"request: {self._whole(form, 'memoryview')}"]
            return [*own, *self._items(items, ())]
        fields = form.head.fields
        # Parameters with a default come last, so only options at the end get a default.
        required = len(fields)
        while items is None and required and isinstance(fields[required - 1].type, OptionType):
            required -= 1
        written: list[str] = []
        names = {"NotImplementedError", "__debug__"}
        for at, field in enumerate(fields):
            name = _unused(python_name(field.name, frozenset()), names)
            names.add(name)
            hint = self._type(field.type, f"argument `{field.name}`")
            written.append(f"{name}: {hint}{' = None' if at >= required else ''}")
        return [*written, *self._items(items, names)]

    def _items(self, form: FormType | None, names: Container[str]) -> list[str]:
        """Write the parameter of the caller's items, the last one."""
        return [] if form is None else [f"{_unused('items', names)}: {self._stream(self._reply(form))}"]

    def _stream(self, items: str) -> str:
        self.streams = True
        return f"Iterator[{items}]"

    def _reply(self, form: FormType) -> str:
        if form.head is None:
            return "None" if form.form == "empty" else self._whole(form, "bytes")
        # An option: the one field of its reply.
        return self._type(form.head.fields[0].type, "a reply")

    def _whole(self, form: FormType, raw: str) -> str:
        match form.type:
            case None:
                return raw
            case ListType(of) if _is_fixed(of):
                return f"tachyon.Array[{self._type(of, 'a reply or a request')}]"
            case found:
                return self._type(found, "a reply or a request")

    def _raises(self, endpoint: EndpointType) -> tuple[list[str], list[str]]:
        """Write the classes of an endpoint's errors; return their names, and the names that no class can have."""
        inner: list[ErrorType] = []
        raises: list[str] = []
        others: list[str] = []
        for error in endpoint.raises:
            if keyword.iskeyword(error.name) or any(name.startswith("_") for name in _names(error)):
                others.append(error.name)
            elif self._errors.get(error.name) == (error.kind, error.fields):
                raises.append(error.name)
            elif error.name in self._taken:
                inner.append(error)
            else:
                self._taken.add(error.name)
                self._errors[error.name] = (error.kind, error.fields)
                self.types.append("\n".join(self._error(error)))
                raises.append(error.name)
        if inner:
            # An error travels by the name of its class, so a second class of the name is nested in another class.
            outer = self._claim("".join(word.capitalize() for word in endpoint.name.split("_")) + "Errors")
            nested = [[f"    {line}" if line else "" for line in self._error(error)] for error in inner]
            about = f'    """The errors of `{endpoint.name}` whose names are taken."""'
            self.types.append("\n".join([f"class {outer}:", about, *(line for each in nested for line in ["", *each])]))
            raises += [f"{outer}.{error.name}" for error in inner]
        return raises, others

    def _error(self, error: ErrorType) -> list[str]:
        lines: list[str] = []
        shown: list[str] = []
        for field, name, hint in self._fields(error, _OF_ERRORS):
            lines.append(f"    {name}: {hint}{' = None' if isinstance(field.type, OptionType) else ''}")
            if isinstance(field.type, (PrimitiveType, TextType)):
                shown.append(f"{name} {{{name}}}")
        text = f"{error.name}: {', '.join(shown)}" if shown else error.name
        settings = ["tachyon.EndpointError", f'text="{text}"']
        if error.kind is not ErrorKind.HANDLER_FAILED:
            settings.append(f"kind=tachyon.ErrorKind.{error.kind.name}")
        head = _wrap(f"class {error.name}(", settings, "):")
        return _body(head, error.doc, lines)

    def _fields(self, head: HeadType, reserved: Container[str]) -> list[tuple[FieldType, str, str]]:
        """Give the fields of a head, each with its Python name and its hint."""
        # Hints come first: their types must precede the class.
        hints = [self._type(field.type, f"field `{field.name}` of {head.name}") for field in head.fields]
        names: set[str] = set()
        used = _used(hints)
        written: list[tuple[FieldType, str, str]] = []
        for field, hint in zip(head.fields, hints, strict=True):
            if field.name.startswith("_"):
                message = f"field `{field.name}` of {head.name} begins with an underscore, which is padding in Python"
                raise DescriptionError(message)
            name = python_name(field.name, OF_STRUCTS)
            while name in names or name in reserved or name in used:
                name += "_"
            names.add(name)
            written.append((field, name, hint))
        return written

    def _type(self, found: Type, place: str) -> str:  # noqa: C901, PLR0911 - one for each kind
        match found:
            case PrimitiveType(name):
                return f"tachyon.{name}"
            case ArrayType(_, length) | BytesType(_, length) if length < 1:
                message = f"{place} is a {found.name}, which has no bytes; Python has no such type"
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
            case TextType():
                return "str"
            case ListType(PrimitiveType("u8")):
                return "bytes"
            case ListType(of):
                written = self._type(of, place)
                return f"tachyon.Array[{written}]" if _is_fixed(of) else f"list[{written}]"
            case TensorType():
                return self._tensor(found)
            case OptionType(of):
                return f"{self._type(of, place)} | None"
            case _:
                return self._named(found)

    def _annotated(self, plain: str, length: int) -> str:
        self.annotates = True
        return f"Annotated[{plain}, {length}]"

    def _tensor(self, found: TensorType) -> str:
        if found not in self._names:
            self.uses_numpy = True
            name = self._names[found] = self._claim(f"{found.of.name.upper()}Tensor{found.ndim}")
            shape = f"tuple[{', '.join(['int'] * found.ndim)}]"
            self.types.append(_wrap(f"{name} = np.ndarray[", [shape, f"np.dtype[np.{_NUMPY[found.of.name]}]"], "]"))
        return self._names[found]

    def _named(self, found: StructType | HeadType | EnumType) -> str:
        if found not in self._names:
            match found:
                case StructType():
                    bases, body = ["tachyon.Struct"], self._struct(found)
                case HeadType():
                    bases, body = self._variable(found)
                case EnumType():
                    bases, body = ["tachyon.IntEnum", f'repr="{found.repr}"'], _enum(found)
            name = self._names[found] = self._claim(found.name)
            self.types.append("\n".join(_body(_wrap(f"class {name}(", bases, "):"), found.doc, body)))
        return self._names[found]

    def _variable(self, found: HeadType) -> tuple[list[str], list[str]]:
        if not found.fields:
            message = f"{found.name} has no fields, and a Struct has at least one"
            raise DescriptionError(message)
        lines = [
            f"    {name}: {hint}{' = None' if isinstance(field.type, OptionType) else ''}"
            for field, name, hint in self._fields(found, ())
        ]
        is_seen = any(not _is_fixed(field.type) for field in found.fields)
        return ["tachyon.Struct", *([] if is_seen else ["extensible=True"])], lines

    def _struct(self, struct: StructType) -> list[str]:
        end, aligned = 0, 1
        for field in struct.fields:
            place = f"field `{field.name}` of {struct.name}"
            if field.offset != end:
                message = (
                    f"{place} is at offset {field.offset} and the field before it ends at {end}; that is no payload"
                )
                raise DescriptionError(message)
            size, align = _extent(field.type)
            if field.offset % align:
                message = (
                    f"{place} is at offset {field.offset}, and a {field.type.name} must be at a multiple of {align}"
                )
                raise DescriptionError(message)
            end += size
            aligned = max(aligned, align)
        if end != struct.size or not struct.fields:
            message = f"{struct.name} has {struct.size} bytes and its fields have {end}; that is no payload"
            raise DescriptionError(message)
        if struct.align != aligned or end % aligned or end > _LARGEST:
            message = f"{struct.name} has {end} bytes aligned to {struct.align}; that is no payload"
            raise DescriptionError(message)
        hints = [self._type(field.type, f"field `{field.name}` of {struct.name}") for field in struct.fields]
        names = field_names((field.name for field in struct.fields), _used(hints))
        return [
            f"    {name}: {hint}{' = tachyon.pad()' if is_padding(name) else ''}"
            for name, hint in zip(names, hints, strict=True)
        ]


def _used(hints: list[str]) -> frozenset[str]:
    """Give the names that a class body uses: a field of such a name would hide it from later hints."""
    return frozenset(_USED).union(*(re.findall(r"(?<![.\w])[^\W\d]\w*", hint) for hint in hints))


def _extent(found: Type) -> tuple[int, int]:
    """Give the size and the alignment of a type, in bytes."""
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
            # Both are checked when the struct is written.
            return found.size, max(found.align, 1)
        case TextType() | ListType() | TensorType() | OptionType() | HeadType():
            # A pair of offset and length in a head.
            return 8, 4


def _is_fixed(found: Type) -> bool:
    return not isinstance(found, (TextType, ListType, TensorType, OptionType, HeadType))


def _names(error: HeadType) -> list[str]:
    return [error.name, *(field.name for field in error.fields)]


def _unused(name: str, names: Container[str]) -> str:
    while name in names:
        name += "_"
    return name


def _wrap(head: str, items: list[str], tail: str, *, defines: bool = False, indent: int = 0) -> str:
    """Write items in brackets, broken as formatters break long lines."""
    plain = ", ".join(items)
    # A tuple of one item ends in a comma, which leaves no place for a break.
    plain = plain.rstrip(" ") if items and not items[-1] else plain
    line = f"{head}{plain}{tail}"
    items = [item for item in items if item]
    if "\n" not in line and indent + len(line) <= _WIDTH:
        return line
    inner, outer = " " * (indent + 4), " " * indent
    is_short = "\n" not in plain and len(inner) + len(plain) <= _WIDTH
    if indent or not is_short:
        return f"{head}\n{''.join(f'{inner}{item},' + chr(10) for item in items)}{outer}{tail}"
    comma = "," if defines and len(items) == 1 else ""
    return f"{head}\n{inner}{plain}{comma}\n{outer}{tail}" if items else f"{head}{tail}"


def _body(head: str, doc: str, lines: list[str]) -> list[str]:
    """Write a class: its docstring, a blank line and its lines."""
    written = _doc(doc)
    return [head, *(written if written or lines else ["    pass"]), *([""] if written and lines else []), *lines]


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
            message = f"variant `{name}` of {found.name} begins with an underscore, which no member in Python may"
            raise DescriptionError(message)
    return [f"    {python_name(name, OF_ENUMS)} = {value}" for name, value in found.variants]


def _shown(line: str) -> str:
    """Write a line of a docstring, without the prompt of a doctest."""
    return printable(re.sub(r"^(\s*)>>>", r"\1>> >", line)).rstrip()


def _doc(text: str) -> list[str]:
    """Write a docstring of any text."""
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    lines = [_shown(line) for line in escaped.strip().split("\n")]
    if lines == [""]:
        return []
    # An odd number of backslashes before the last quote means that the quote is escaped already.
    if re.search(r'(?<!\\)(?:\\\\)*"$', lines[-1]):
        lines[-1] = lines[-1][:-1] + '\\"'
    indented = [f"    {line}" if line else "" for line in lines]
    indented[0] = f'    """{lines[0]}'
    if len(lines) == 1:
        return [indented[0] + '"""']
    return [*indented, '    """']
