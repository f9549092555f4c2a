"""Struct: a class whose fields lie in memory as Rust's `repr(C)` lays them out."""

from __future__ import annotations

import sys
import typing
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, dataclass_transform

from tachyon._hints import layout
from tachyon._layout import Layout, Primitive, change, over, own_doc, use
from tachyon._names import wire_name
from tachyon._tachyon import Memory
from tachyon.errors import BadRequestError, ReleasedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from tachyon._layout import Json

_S = TypeVar("_S", bound="Struct")


def pad(*, init: Literal[False] = False) -> Any:
    """Mark a field as padding: zeros that nobody reads, `_pad: Annotated[bytes, 4] = tachyon.pad()`.

    Padding begins with an underscore. It is no argument of the constructor, which is what this tells a type checker,
    and takes no part in comparing and printing.
    """
    del init
    return _PAD


_PAD: typing.Final = object()


class Field:
    """One field: reads and writes in place."""

    __slots__ = ("at", "layout", "name", "place")

    def __init__(self, name: str, layout: Layout, at: int, place: str) -> None:
        """Lie `at` bytes after the Struct's beginning."""
        self.name = name
        self.layout = layout
        self.at = at
        self.place = place

    @property
    def is_padding(self) -> bool:
        """Whether nobody reads it."""
        return self.name.startswith("_")

    def __get__(self, instance: Struct | None, owner: type[Struct]) -> Any:
        """Give the value; on the class, the field itself."""
        return self if instance is None else use(instance, self.layout, self.at)

    def __set__(self, instance: Struct, value: Any) -> None:
        """Write the value, if the field can hold it."""
        change(instance, self.layout, self.at, value, self.place)

    def __repr__(self) -> str:
        """Say what and where it is."""
        return f"<{self.place}: {self.layout.name} at offset {self.at}>"


class NumberField(Field):
    """A field that is a number, read without a detour."""

    __slots__ = ("_unpack",)

    def __init__(self, name: str, layout: Primitive, at: int, place: str) -> None:
        """Lie `at` bytes after the Struct's beginning."""
        super().__init__(name, layout, at, place)
        self._unpack = layout.unpack

    def __get__(self, instance: Struct | None, owner: type[Struct]) -> Any:
        """Give the number; on the class, the field itself."""
        if instance is None:
            return self
        try:
            return self._unpack(instance._view, instance._at + self.at)[0]
        except ValueError:
            raise ReleasedError(over(instance)) from None


def _hint(name: str, written: Any, module: str, around: Mapping[str, Any], place: str) -> Any:
    if not isinstance(written, str):
        return written
    holder = type("Holder", (), {"__annotations__": {name: written}, "__module__": module})
    try:
        return typing.get_type_hints(holder, localns=dict(around), include_extras=True)[name]
    except NameError as error:
        message = f"{place}: the hint {written!r} cannot be resolved ({error}); import what it names at run time"
        raise TypeError(message) from None


def _own_hints(name: str, written: Mapping[str, Any], module: str, around: Mapping[str, Any]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for own, hint in written.items():
        place = f"field `{own}` of {name}"
        resolved = _hint(own, hint, module, around, place)
        if typing.get_origin(resolved) is ClassVar or resolved is ClassVar:
            continue
        if hasattr(Struct, own):
            message = f"{place}: a Struct has a {own} of its own; call it `{own}_`, which travels as `{own}`"
            raise TypeError(message)
        hints[own] = resolved
    if hints:
        return hints
    message = f"{name} has no fields: a Struct is at least one, such as `id: tachyon.u64`"
    raise TypeError(message)


def _write_default(field: Field, default: Any, blank: memoryview) -> None:
    if default is not _PAD:
        field.layout.write(blank, field.at, default, field.place)
    elif not field.is_padding:
        message = f"{field.place}: the name of padding begins with an underscore"
        raise TypeError(message)


def _place_fields(name: str, hints: Mapping[str, Any]) -> tuple[list[Field], int, int]:
    fields: list[Field] = []
    end, align = 0, 1
    for own, hint in hints.items():
        place = f"field `{own}` of {name}"
        found = layout(hint, place)
        if gap := -end % found.align:
            _refuse_gap(name, gap, end, f"before field `{own}`")
        short = f"{name}.{own}"
        kind = NumberField(own, found, end, short) if isinstance(found, Primitive) else Field(own, found, end, short)
        fields.append(kind)
        end, align = end + found.size, max(align, found.align)
    if gap := -end % align:
        _refuse_gap(name, gap, end, "at the end")
    return fields, end, align


def _refuse_gap(name: str, gap: int, at: int, where: str) -> typing.NoReturn:
    message = (
        f"{name}: repr(C) leaves a gap of {gap} bytes at offset {at}, {where}, and payloads have none; fill it with "
        f"`_pad: Annotated[bytes, {gap}] = tachyon.pad()` {where}, or order the fields by size"
    )
    raise TypeError(message)


@dataclass_transform(kw_only_default=True, eq_default=True, field_specifiers=(pad,))
class _StructType(type):
    """Lays a Struct out when its class is made."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        """Make the class, or raise naming the field that cannot be laid out."""
        namespace.setdefault("__slots__", ())
        if "Struct" not in globals():
            return super().__new__(mcs, name, bases, namespace)
        for base in bases:
            if base is not Struct and issubclass(base, Struct):
                message = f"{name}: a Struct is not extended; make a {base.__name__} one of its fields"
                raise TypeError(message)
        written = namespace.get("__annotations__")
        if written is None:  # From Python 3.14 on annotations are made when they are asked for.
            written = super().__new__(mcs, name, bases, dict(namespace)).__annotations__
        hints = _own_hints(name, written, namespace["__module__"], sys._getframe(1).f_locals)  # pyright: ignore[reportPrivateUsage]
        defaults = {own: namespace.pop(own) for own in hints if own in namespace}
        fields, size, align = _place_fields(name, hints)
        cls: Any = super().__new__(mcs, name, bases, namespace | {field.name: field for field in fields})
        blank = memoryview(bytearray(size))
        for field in fields:
            if field.name in defaults:
                _write_default(field, defaults[field.name], blank)
        required = {field.name for field in fields if not field.is_padding and field.name not in defaults}
        cls.__layout__ = StructLayout(cls, fields, size, align)
        cls._blank = bytes(blank)
        cls._required = frozenset(required)
        return cls

    def __setattr__(cls, name: str, value: object) -> None:
        """Refuse what would take a field away."""
        if name in cls.__dict__ and isinstance(cls.__dict__[name], Field):
            message = f"{name} is a field of every {cls.__name__}; set it on one of them"
            raise AttributeError(message)
        super().__setattr__(name, value)


class _DType:
    """`dtype`, of a class and of its instances."""

    def __get__(self, instance: Struct | None, owner: type[Struct]) -> Any:
        import numpy as np  # noqa: PLC0415 - numpy is optional

        return np.dtype(owner.__layout__.dtype())


class Struct(Memory, metaclass=_StructType):
    """Fields in memory, laid out as in a Rust `#[tachyon::payload]` struct.

    ::

        class PriceRequest(tachyon.Struct):
            instrument: tachyon.u64
            quantity: tachyon.i32 = 1
            _pad: Annotated[bytes, 4] = tachyon.pad()

    A Struct that one makes has memory of its own. The one that a handler gets is a view of the request: it is read in
    place, cannot be changed, and ends with the call; `copy()` is what to keep. Values are checked when they are
    assigned. `dtype` is the same type for numpy, and the buffer is the bytes as they travel.
    """

    if TYPE_CHECKING:
        __layout__: ClassVar[StructLayout]
        dtype: ClassVar[np.dtype[np.void]]
        """The same type for numpy: `numpy.frombuffer(data, dtype=PriceRequest.dtype)`."""
        _blank: ClassVar[bytes]
        _required: ClassVar[frozenset[str]]
    else:
        dtype = _DType()

        def __new__(cls, **fields: Any) -> Self:
            """Make a Struct of the given values, the others' defaults, and zeros for padding."""
            if cls is Struct:
                message = "a Struct has fields: make a class of it, class PriceRequest(tachyon.Struct): ..."
                raise TypeError(message)
            self = _lend(cls, memoryview(bytearray(cls._blank)), 0)
            own = cls.__layout__.by_name
            for name, value in fields.items():
                if name not in own:
                    message = f"{cls.__name__} has no field `{name}`; it has {', '.join(own)}"
                    raise TypeError(message)
                setattr(self, name, value)
            if missing := cls._required - fields.keys():
                names = ", ".join(f"`{name}`" for name in own if name in missing)
                message = f"{cls.__name__} needs a value for {names}"
                raise TypeError(message)
            return self

        def __init__(self, **fields: Any) -> None:
            """Do nothing more."""

    @classmethod
    def from_bytes(cls, data: Any) -> Self:
        """Make a Struct of bytes as they travel, such as a message of a `Bus`.

        Raises BadRequestError if they are too few, too many, or hold a bool or an enum that has no such value.
        """
        return checked(cls, memoryview(bytearray(data)), private=True)

    def copy(self) -> Self:
        """Make a Struct of the same values with memory of its own."""
        return _lend(type(self), memoryview(bytearray(self)), 0)

    __copy__ = copy

    def __deepcopy__(self, memo: object) -> Self:
        """Make a copy, which is as deep as a Struct is."""
        return self.copy()

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Any, ...]]:
        """Pickle the class and the bytes."""
        return _unpickled, (type(self), bytes(self))

    def __eq__(self, other: object) -> bool:
        """Compare field by field with a Struct of the same class."""
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__layout__.by_name)

    __hash__ = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType] - values change

    def __repr__(self) -> str:
        """Show the class and its values, as one would write them."""
        try:
            values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__layout__.by_name)
        except ReleasedError:
            return f"<{type(self).__name__}, a view of a request that is over>"
        return f"{type(self).__name__}({values})"


def _lend(cls: type[_S], view: memoryview, at: int) -> _S:
    return Memory.__new__(cls, view, at, cls.__layout__.size, "B")


def _unpickled(cls: type[_S], data: bytes) -> _S:
    return cls.from_bytes(data)


def checked(cls: type[_S], view: memoryview, *, private: bool = False) -> _S:
    """Give the Struct that a request is, in place; copied first if it can be invalid, so that it stays what it was.

    Memory that is `private` stays as it is without a copy.
    """
    own = cls.__layout__
    if view.nbytes != own.size:
        message = f"{view.nbytes} bytes came, and {own.name} has {own.size}"
        raise BadRequestError(message)
    if not own.total:
        view = view if private else memoryview(bytes(view))
        own.check(view, 0, own.name)
    return _lend(cls, view, 0)


class StructLayout:
    """The layout of a Struct."""

    form = "B"

    def __init__(self, cls: type[Struct], fields: list[Field], size: int, align: int) -> None:
        """Lay out `cls`."""
        self.cls = cls
        self.fields = fields
        self.size = size
        self.align = align
        self.name = cls.__name__
        self.total = all(field.layout.total for field in fields)
        self.by_name = {field.name: field for field in fields if not field.is_padding}

    def read(self, view: memoryview, at: int) -> Struct:
        view[:0].release()  # a window is made without a look at the memory, and this one may be gone
        return _lend(self.cls, view, at)

    def write(self, view: memoryview, at: int, value: Any, place: str) -> None:
        if not isinstance(value, self.cls):
            message = f"{place} is a {self.name}, not {type(value).__name__}"
            raise TypeError(message)
        view[at : at + self.size] = bytes(value)

    def check(self, view: memoryview, at: int, place: str) -> None:
        for field in self.fields:
            if not field.layout.total:
                field.layout.check(view, at + field.at, f"{place}.{wire_name(field.name)}")

    def describe(self) -> Json:
        described: dict[str, Any] = {"kind": "struct", "name": self.name}
        if doc := own_doc(self.cls):
            described["doc"] = doc
        fields = [
            {
                "name": wire_name(field.name),
                "type": field.layout.describe(),
                "offset": field.at,
                "size": field.layout.size,
            }
            for field in self.fields
        ]
        return described | {"size": self.size, "align": self.align, "fields": fields}

    def dtype(self) -> Any:
        shown = self.by_name.values()
        return {
            "names": [field.name for field in shown],
            "formats": [field.layout.dtype() for field in shown],
            "offsets": [field.at for field in shown],
            "itemsize": self.size,
        }
