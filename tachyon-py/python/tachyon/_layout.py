"""Layouts: one object for each type of a field, an argument, a request or a reply.

Each layout gives its part of a `Plan`, by which the extension encodes and decodes, and of a description.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from tachyon._names import OF_ENUMS, OF_STRUCTS, wire_name
from tachyon._tachyon import Plan

if TYPE_CHECKING:
    import enum
    from collections.abc import Callable

Json: TypeAlias = str | dict[str, Any]


class Nodes:
    """The types of a plan, each once, after the types of its parts."""

    def __init__(self) -> None:
        """Start empty."""
        self.list: list[tuple[Any, ...]] = []
        # The layouts too: the address of a live object is unique.
        self._known: dict[int, tuple[Layout, int]] = {}

    def of(self, layout: Layout) -> int:
        """Give the index of a type; add a new type."""
        if (known := self._known.get(id(layout))) is not None:
            return known[1]
        node = layout.node(self)
        self.list.append(node)
        at = len(self.list) - 1
        self._known[id(layout)] = layout, at
        return at


class Types:
    """The named types of a description, each once, after the types of its parts."""

    def __init__(self) -> None:
        """Start empty."""
        self.list: list[dict[str, Any]] = []
        self._known: dict[int, int] = {}

    def ref(self, layout: Layout, describe: Callable[[], dict[str, Any]]) -> Json:
        """Refer to a type; add a new type with `describe`."""
        if (known := self._known.get(id(layout))) is None:
            described = describe()
            known = self._known[id(layout)] = len(self.list)
            self.list.append(described)
        return {"ref": known}


class Layout:
    """A type that travels."""

    name: str
    """The type in error texts, in the same words as in Rust."""
    form: str = "B"
    """The item format of the buffer of a value, or of an Array of values, as in `memoryview.cast`."""
    is_fixed: bool = True
    """Whether its values have the same size in every message."""

    @cached_property
    def plan(self) -> Plan:
        """The plan by which the extension encodes and decodes whole values."""
        nodes = Nodes()
        nodes.of(self)
        return Plan(nodes.list)

    @property
    def size(self) -> int | None:
        """Size of a value in bytes; None if the size depends on the value."""
        return self.plan.size

    def as_received(self, value: Any, place: str) -> Any:
        """Give a value as a receiver gets it, which shares no memory with `value`."""
        return self.plan.decode(self.plan.encode(value, place), place)

    def node(self, nodes: Nodes) -> tuple[Any, ...]:
        """Give the type's part of a plan: its kind and the parameters of the kind."""
        raise NotImplementedError

    def describe(self, types: Types) -> Json:
        """Give the type for a description."""
        raise NotImplementedError

    def dtype(self) -> Any:
        """Give the argument of `numpy.dtype` for the same type."""
        raise NotImplementedError

    @property
    def array_dtype(self) -> Callable[[], Any] | None:
        """A function that gives the dtype of an array of such values; None if numpy has no equal dtype."""
        return lambda: _numpy_dtype(self.dtype())


def _numpy_dtype(dtype: Any) -> Any:
    import numpy as np  # noqa: PLC0415 - needed for numpy arrays only

    return np.dtype(dtype)


_CODES = {
    "u8": ("B", 1),
    "u16": ("H", 2),
    "u32": ("I", 4),
    "u64": ("Q", 8),
    "i8": ("b", 1),
    "i16": ("h", 2),
    "i32": ("i", 4),
    "i64": ("q", 8),
    "f32": ("f", 4),
    "f64": ("d", 8),
    "bool": ("?", 1),
}


class Primitive(Layout):
    """A number or a bool, in the machine's byte order."""

    def __init__(self, name: str) -> None:
        """Be the type of this Rust name."""
        self.name = name
        self.form, self._size = _CODES[name]

    def __repr__(self) -> str:
        """Show the type as Python code."""
        return f"tachyon.{self.name}"

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        """Pickle the name: each type has one object."""
        return _primitive, (self.name,)

    def node(self, nodes: Nodes) -> tuple[Any, ...]:  # noqa: ARG002
        return "number", self.name

    def describe(self, types: Types) -> Json:  # noqa: ARG002
        return self.name

    def dtype(self) -> Any:
        return "<" + self.form if self._size > 1 else self.form


PRIMITIVES = {name: Primitive(name) for name in _CODES}


def _primitive(name: str) -> Primitive:
    return PRIMITIVES[name]


class FixedBytes(Layout):
    """Exactly as many bytes as the annotation says."""

    def __init__(self, length: int) -> None:
        """Be `length` bytes long."""
        self.length = length
        self.name = f"bytes[{length}]"

    def node(self, nodes: Nodes) -> tuple[Any, ...]:  # noqa: ARG002
        return "bytes", self.length

    def describe(self, types: Types) -> Json:  # noqa: ARG002
        return {"kind": "bytes", "len": self.length}

    def dtype(self) -> Any:
        return f"V{self.length}"


class FixedStr(Layout):
    """Text of at most so many bytes of UTF-8, filled up with zeros."""

    def __init__(self, length: int) -> None:
        """Hold up to `length` bytes."""
        self.length = length
        self.name = f"str[{length}]"

    def node(self, nodes: Nodes) -> tuple[Any, ...]:  # noqa: ARG002
        return "text", self.length

    def describe(self, types: Types) -> Json:  # noqa: ARG002
        return {"kind": "str", "len": self.length}

    def dtype(self) -> Any:
        return f"S{self.length}"


class EnumLayout(Layout):
    """One of the members of an IntEnum."""

    def __init__(self, members: type[enum.IntEnum], number: Primitive) -> None:
        """Stand for `members`, each as a `number`."""
        self.members = members
        self.number = number
        self.name = members.__name__
        self.form = number.form

    def node(self, nodes: Nodes) -> tuple[Any, ...]:  # noqa: ARG002
        known = {int(member): member for member in self.members}
        return "enum", self.name, self.number.name, known, self.members

    def describe(self, types: Types) -> Json:
        return types.ref(self, self._described)

    def _described(self) -> dict[str, Any]:
        variants = [{"name": wire_name(member.name, OF_ENUMS), "value": int(member)} for member in self.members]
        described: dict[str, Any] = {"kind": "enum", "name": self.name}
        if doc := own_doc(self.members):
            described["doc"] = doc
        return described | {"repr": self.number.name, "variants": variants}

    def dtype(self) -> Any:
        return self.number.dtype()

    @property
    def array_dtype(self) -> None:
        """None: numpy has no enum members."""


class Text(Layout):
    """UTF-8 text of any length."""

    name = "str"
    is_fixed = False

    def node(self, nodes: Nodes) -> tuple[Any, ...]:  # noqa: ARG002
        return ("str",)

    def describe(self, types: Types) -> Json:  # noqa: ARG002
        return "str"


TEXT = Text()


class OptionLayout(Layout):
    """A value, or None."""

    is_fixed = False

    def __init__(self, of: Layout) -> None:
        """Hold a value of a type, or none."""
        self.of = of
        self.name = f"{of.name} | None"

    def node(self, nodes: Nodes) -> tuple[Any, ...]:
        return "option", nodes.of(self.of)

    def describe(self, types: Types) -> Json:
        return {"option": self.of.describe(types)}


class LaidOut:
    """A placeholder for a part of a class in a pickle by value. Making the class makes the part."""


class ClassLayout(Layout):
    """The type of the values of a class."""

    by_name: dict[str, Any]
    """The fields of the class."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[()]]:
        """Pickle nothing: making the class makes its layout."""
        return LaidOut, ()


class HeadField(NamedTuple):
    """One field of a head: an argument, or a field of a Struct without a fixed size or of a declared error."""

    name: str
    """The name that travels."""
    place: str
    """The name of the field in error texts."""
    layout: Layout
    has_default: bool = False
    default: Any = None


class HeadLayout(ClassLayout):
    """Fields behind a head."""

    is_fixed = False

    def __init__(self, name: str, fields: list[HeadField], cls: type | None = None) -> None:
        """Have these fields of `cls`; without a class they are arguments."""
        self.name = name
        self.fields = fields
        self.cls: Any = cls

    def node(self, nodes: Nodes) -> tuple[Any, ...]:
        fields = [
            (field.name, field.place, nodes.of(field.layout), field.has_default, field.default) for field in self.fields
        ]
        return "head", self.name, fields, self.cls

    def describe(self, types: Types) -> Json:
        return types.ref(self, lambda: self.described(types))

    def described(self, types: Types) -> dict[str, Any]:
        """Give the description for the list of types."""
        described: dict[str, Any] = {"kind": "struct", "name": self.name}
        if doc := own_doc(self.cls):
            described["doc"] = doc
        return described | self.head(types)

    def head(self, types: Types) -> dict[str, Any]:
        """Give the size and the fields of the head for a description."""
        length, offsets = self.plan.offsets()
        fields: list[dict[str, Any]] = []
        for field, offset in zip(self.fields, offsets, strict=True):
            described = {"name": field.name, "type": field.layout.describe(types), "offset": offset}
            is_option = isinstance(field.layout, OptionLayout)
            fields.append(described | ({"default": True} if field.has_default and not is_option else {}))
        return {"head": length, "fields": fields}


class StructField(NamedTuple):
    """One field of a Struct in memory."""

    name: str
    layout: Layout


class StructLayout(ClassLayout):
    """Contiguous fields, without gaps."""

    def __init__(self, cls: Any, fields: list[StructField]) -> None:
        """Lay out `cls`."""
        self.cls = cls
        self.fields = fields
        self.name: str = cls.__name__

    def node(self, nodes: Nodes) -> tuple[Any, ...]:
        fields = [(wire_name(field.name, OF_STRUCTS), nodes.of(field.layout)) for field in self.fields]
        return "struct", self.name, fields, self.cls

    def describe(self, types: Types) -> Json:
        return types.ref(self, lambda: self._described(types))

    def _described(self, types: Types) -> dict[str, Any]:
        described: dict[str, Any] = {"kind": "struct", "name": self.name}
        if doc := own_doc(self.cls):
            described["doc"] = doc
        _, offsets = self.plan.offsets()
        fields = [
            {"name": wire_name(field.name, OF_STRUCTS), "type": field.layout.describe(types), "offset": offset}
            for field, offset in zip(self.fields, offsets, strict=True)
        ]
        return described | {"size": self.plan.size, "align": self.plan.align, "fields": fields}

    def dtype(self) -> Any:
        _, offsets = self.plan.offsets()
        shown = [(field, at) for field, at in zip(self.fields, offsets, strict=True) if not field.name.startswith("_")]
        return {
            "names": [field.name for field, _ in shown],
            "formats": [field.layout.dtype() for field, _ in shown],
            "offsets": [at for _, at in shown],
            "itemsize": self.plan.size,
        }


def own_doc(described: Any) -> str:
    """Give a class's own docstring, tidied; empty when it has none."""
    import inspect  # noqa: PLC0415 - a slow import

    doc = getattr(described, "__dict__", {}).get("__doc__")
    return inspect.cleandoc(doc) if isinstance(doc, str) else ""
