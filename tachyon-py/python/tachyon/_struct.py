"""Struct: a class whose fields lie in memory as Rust's `repr(C)` lays them out.

Fields have every name but a few, so what a Struct has for itself is called `__tachyon_*__`.
"""

from __future__ import annotations

import sys
import typing
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, dataclass_transform

from tachyon._hints import layout
from tachyon._layout import Layout, Primitive, change, over, own_doc, use
from tachyon._names import OF_STRUCTS, is_padding, normal, objection, wire_name
from tachyon._tachyon import Memory
from tachyon.errors import BadRequestError, ReleasedError

if TYPE_CHECKING:
    import inspect
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


class _Pad:
    """What `pad` gives; there is one."""

    def __repr__(self) -> str:
        """Show it as it is written."""
        return "tachyon.pad()"

    def __reduce__(self) -> str:
        """Pickle its name, since it is told by its identity."""
        return "_PAD"


_PAD: typing.Final = _Pad()


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
        return is_padding(self.name)

    def __get__(self, instance: Struct | None, owner: type[Struct]) -> Any:
        """Give the value; on the class, the field itself."""
        return self if instance is None else use(instance, self.layout, self.at)

    def __set__(self, instance: Struct, value: Any) -> None:
        """Write the value, if the field can hold it."""
        change(instance, self.layout, self.at, value, self.place)

    def __repr__(self) -> str:
        """Say what and where it is."""
        return f"<{self.place}: {self.layout.name} at offset {self.at}>"

    def __reduce__(self) -> tuple[Callable[..., object], tuple[()]]:
        """Pickle nothing: a class that is pickled by value is laid out again by what it was `_Written` as."""
        return _LaidOut, ()


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
            return self._unpack(instance.__tachyon_view__, instance.__tachyon_at__ + self.at)[0]
        except ValueError:
            raise ReleasedError(over(instance)) from None


def _hint(name: str, written: Any, module: str, around: Mapping[str, Any], place: str) -> Any:
    if not isinstance(written, str):
        return written
    holder = type("Holder", (), {"__annotations__": {name: written}, "__module__": module})
    try:
        return typing.get_type_hints(holder, localns=dict(around), include_extras=True)[name]
    except Exception as error:  # noqa: BLE001 - a hint is any expression
        message = f"{place}: the hint {written!r} cannot be resolved ({error}); import what it names at run time"
        raise TypeError(message) from None


def _own_hints(name: str, written: Mapping[str, Any], module: str, around: Mapping[str, Any]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for own, hint in written.items():
        place = f"field `{own}` of {name}"
        resolved = _hint(own, hint, module, around, place)
        if typing.get_origin(resolved) is ClassVar or resolved is ClassVar:
            continue
        if refused := objection(own, OF_STRUCTS, "a Struct"):
            message = f"{place}: {refused}"
            raise TypeError(message)
        hints[normal(own)] = resolved
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


class _Written(typing.NamedTuple):
    """Everything about a Struct's fields that its class statement says."""

    hints: dict[str, Any]
    defaults: dict[str, Any]


class _LaidOut:
    """Stands for a part of a class, in a pickle of the class by value, that is made anew from what was `_Written`."""


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
        if not name.isidentifier():
            message = f"{name!r} is no name of a Struct: it travels, and is an identifier"
            raise TypeError(message)
        caller = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        # As `type` does for a class that is made without a class statement.
        namespace.setdefault("__module__", caller.f_globals.get("__name__", __name__))
        if namespace.keys() <= {"__module__", "__slots__"}:
            # No class statement leaves so little behind: cloudpickle makes a class like this, and then sets its parts.
            return super().__new__(mcs, name, bases, namespace)
        written = namespace.get("__annotations__")
        if written is None:  # From Python 3.14 on annotations are made when they are asked for.
            written = super().__new__(mcs, name, bases, dict(namespace)).__annotations__
        hints = _own_hints(name, written, namespace["__module__"], caller.f_locals)
        defaults = {own: namespace.pop(own) for own in hints if own in namespace}
        fields = _place_fields(name, hints)
        cls = super().__new__(mcs, name, bases, namespace)
        _lay_out(cls, _Written(hints, defaults), fields)
        return cls

    @property
    def __signature__(cls: Any) -> inspect.Signature:
        """The constructor's parameters, which are keywords, with their hints and defaults."""
        import inspect  # noqa: PLC0415 - costs more than this module does

        if "__layout__" not in cls.__dict__:
            raise AttributeError("__signature__")  # noqa: EM101 - as Python says it
        written = cls.__tachyon_written__
        return inspect.Signature(
            [
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=written.defaults.get(name, inspect.Parameter.empty),
                    annotation=written.hints[name],
                )
                for name in cls.__layout__.by_name
            ]
        )

    def __setattr__(cls, name: str, value: object) -> None:
        """Refuse what would take a field away; lay a class out that cloudpickle makes."""
        if isinstance(value, _LaidOut):
            return
        if isinstance(value, _Written):
            # One that was made here, or received before, is sent its parts once more.
            if "__layout__" not in cls.__dict__:
                _lay_out(cls, value, _place_fields(cls.__name__, value.hints))
            return
        if name in cls.__dict__ and isinstance(cls.__dict__[name], Field):
            message = f"{name} is a field of every {cls.__name__}; set it on one of them"
            raise AttributeError(message)
        super().__setattr__(name, value)


def _lay_out(cls: Any, written: _Written, placed: tuple[list[Field], int, int]) -> None:
    """Give a class its fields and everything that is made of them."""
    fields, size, align = placed
    blank = memoryview(bytearray(size))
    for field in fields:
        if field.name in written.defaults:
            _write_default(field, written.defaults[field.name], blank)
    own = StructLayout(cls, fields, size, align)
    parts: dict[str, Any] = {field.name: field for field in fields} | {
        "__match_args__": cls.__dict__.get("__match_args__", tuple(own.by_name)),
        "__tachyon_blank__": bytes(blank),
        "__tachyon_required__": frozenset(own.by_name.keys() - written.defaults.keys()),
        "__tachyon_written__": written,
        "__layout__": own,
    }
    for name, part in parts.items():
        type.__setattr__(cls, name, part)


class _DType:
    """`dtype`, of a class and of its instances."""

    def __get__(self, instance: Struct | None, owner: type[Struct]) -> Any:
        try:
            import numpy as np  # noqa: PLC0415 - numpy is optional
        except ImportError as error:
            # Not an ImportError: `hasattr`, `help` and `inspect.getmembers` only know this one.
            message = f"{owner.__name__}.dtype needs numpy, which cannot be imported ({error}); install numpy"
            raise AttributeError(message) from error

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

    A Struct compares, prints, copies and pickles by its fields, and matches them by position, `case Point(x, y)`, and
    by name; padding takes no part. A field that has the name of a keyword, or of what every Struct has (`copy`,
    `dtype`, `from_bytes`, `replace`), is written with an underscore behind it, `class_`, and travels as `class`.
    """

    if TYPE_CHECKING:
        __layout__: ClassVar[StructLayout]
        dtype: ClassVar[np.dtype[np.void]]
        """The same type for numpy: `numpy.frombuffer(data, dtype=PriceRequest.dtype)`."""
        __tachyon_blank__: ClassVar[bytes]
        __tachyon_required__: ClassVar[frozenset[str]]
    else:
        dtype = _DType()

        def __new__(cls, /, **fields: Any) -> Self:
            """Make a Struct of the given values, the others' defaults, and zeros for padding."""
            if "__layout__" not in cls.__dict__:
                message = "a Struct has fields: make a class of it, class PriceRequest(tachyon.Struct): ..."
                raise TypeError(message)
            self = _lend(cls, memoryview(bytearray(cls.__tachyon_blank__)), 0)
            own = cls.__layout__.by_name
            for name, value in fields.items():
                if name not in own:
                    message = f"{cls.__name__} has no field `{name}`; it has {', '.join(own)}"
                    raise TypeError(message)
                setattr(self, name, value)
            if missing := cls.__tachyon_required__ - fields.keys():
                names = ", ".join(f"`{name}`" for name in own if name in missing)
                message = f"{cls.__name__} needs a value for {names}"
                raise TypeError(message)
            return self

        def __init__(self, /, **fields: Any) -> None:
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

    def replace(self, /, **changes: Any) -> Self:
        """Make a copy in which some fields have other values: `order.replace(quantity=3)`.

        From Python 3.13 on `copy.replace(order, quantity=3)` is the same.
        """
        made = self.copy()
        own = self.__layout__.by_name
        for name, value in changes.items():
            if name not in own:
                message = f"{type(self).__name__} has no field `{name}`; it has {', '.join(own)}"
                raise TypeError(message)
            setattr(made, name, value)
        return made

    __replace__ = replace

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

    __hash__: ClassVar[None] = None  # type: ignore[assignment] # pyright: ignore[reportIncompatibleMethodOverride] - values change

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
        self.name: str = cls.__name__
        self.total: bool = all(field.layout.total for field in fields)
        self.by_name: dict[str, Field] = {field.name: field for field in fields if not field.is_padding}

    def __reduce__(self) -> tuple[Callable[..., object], tuple[()]]:
        """Pickle nothing, as a field does."""
        return _LaidOut, ()

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
                field.layout.check(view, at + field.at, f"{place}.{wire_name(field.name, OF_STRUCTS)}")

    def describe(self) -> Json:
        described: dict[str, Any] = {"kind": "struct", "name": self.name}
        if doc := own_doc(self.cls):
            described["doc"] = doc
        fields = [
            {
                "name": wire_name(field.name, OF_STRUCTS),
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
