"""Struct: a class whose fields have the memory layout of Rust's `repr(C)`, or that holds values.

Fields may have almost any name, so the internal attributes of a Struct are called `__tachyon_*__`.
"""

from __future__ import annotations

import sys
import typing
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, cast, dataclass_transform

from tachyon._hints import layout
from tachyon._layout import HeadField, HeadLayout, LaidOut, Layout, StructField, StructLayout
from tachyon._names import OF_STRUCTS, is_padding, normal, objection, wire_name
from tachyon._tachyon import FieldCore, Memory, Values
from tachyon.errors import ReleasedError

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np

    from tachyon._tachyon import Plan

_S = TypeVar("_S", bound="Struct")


def pad(*, init: Literal[False] = False) -> Any:
    """Mark a field as padding: zeros without a meaning, `_pad: Annotated[bytes, 4] = tachyon.pad()`.

    The name of padding begins with an underscore. Padding is no argument of the constructor, to type checkers too, and
    does not take part in comparing and printing.
    """
    del init
    return _PAD


class _Pad:
    """The only value of `pad()`."""

    def __repr__(self) -> str:
        """Show the value as Python code."""
        return "tachyon.pad()"

    def __reduce__(self) -> str:
        """Pickle the name, since the value is compared by identity."""
        return "_PAD"


_PAD: typing.Final = _Pad()


class Field(FieldCore):
    """One field: reads and writes."""

    __slots__ = ("layout", "name")
    layout: Layout
    name: str

    def __new__(cls, plan: Plan, index: int, place: str, name: str, layout: Layout) -> Self:
        """Be field number `index` of the plan's payload, called `name`."""
        self = super().__new__(cls, plan, index, place)
        self.name = name
        self.layout = layout
        return self

    @property
    def is_padding(self) -> bool:
        """Whether the field is padding."""
        return is_padding(self.name)

    def __repr__(self) -> str:
        """Show the name and the type of the field."""
        return f"<{self.place}: {self.layout.name}>"

    def __reduce__(self) -> tuple[Callable[..., object], tuple[()]]:
        """Pickle nothing: a class that is pickled by value is laid out again from its `_Written`."""
        return LaidOut, ()


def _hint(name: str, written: Any, module: str, around: Mapping[str, Any], owner: str) -> Any:
    place = f"field `{name}` of {owner}"
    if not isinstance(written, str):
        return written
    holder = type("Holder", (), {"__annotations__": {name: written}, "__module__": module})
    try:
        return typing.get_type_hints(holder, localns=dict(around), include_extras=True)[name]
    except NameError as error:
        if error.name == owner:
            message = f"{place}: a Struct cannot contain itself: its messages would have no end"
            raise TypeError(message) from None
        message = f"{place}: the hint {written!r} cannot be resolved ({error}); import what it names at run time"
        raise TypeError(message) from None
    except Exception as error:  # noqa: BLE001 - a hint is any expression
        message = f"{place}: the hint {written!r} cannot be resolved ({error}); import what it names at run time"
        raise TypeError(message) from None


def resolved(cls: type, around: Mapping[str, Any]) -> dict[str, Any]:
    """Give a class's own hints without `ClassVar`s; `around` has the local names around the class."""
    import inspect  # noqa: PLC0415 - a slow import

    written = inspect.get_annotations(cls)
    hints = {name: _hint(name, hint, cls.__module__, around, cls.__name__) for name, hint in written.items()}
    return {
        normal(name): hint
        for name, hint in hints.items()
        if typing.get_origin(hint) is not ClassVar and hint is not ClassVar
    }


def _own_hints(name: str, written: Mapping[str, Any], module: str, around: Mapping[str, Any]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for own, hint in written.items():
        place = f"field `{own}` of {name}"
        resolved = _hint(own, hint, module, around, name)
        if typing.get_origin(resolved) is ClassVar or resolved is ClassVar:
            continue
        if refused := objection(own, OF_STRUCTS, "a Struct"):
            message = f"{place}: {refused}"
            raise TypeError(message)
        hints[normal(own)] = resolved
    if hints:
        return hints
    message = f"{name} has no fields: a Struct needs at least one, such as `id: tachyon.u64`"
    raise TypeError(message)


def _place_fields(
    cls: Any, hints: Mapping[str, Any], defaults: Mapping[str, Any], *, extensible: bool
) -> StructLayout | HeadLayout:
    """Lay out the fields of a class: without a fixed size if a field has none."""
    name: str = cls.__name__
    layouts = {own: layout(hint, f"field `{own}` of {name}") for own, hint in hints.items()}
    if not extensible and all(found.is_fixed for found in layouts.values()):
        for own, default in defaults.items():
            if default is _PAD and not is_padding(own):
                message = f"{name}.{own}: the name of padding begins with an underscore"
                raise TypeError(message)
        _refuse_gaps(name, layouts)
        return StructLayout(cls, [StructField(own, found) for own, found in layouts.items()])
    fields: list[HeadField] = []
    for own, found in layouts.items():
        place = f"{name}.{wire_name(own, OF_STRUCTS)}"
        if is_padding(own):
            message = f"field `{own}` of {name}: a Struct without a fixed size has no padding; leave it out"
            raise TypeError(message)
        default = found.as_received(defaults[own], place) if own in defaults else None
        fields.append(HeadField(wire_name(own, OF_STRUCTS), place, found, own in defaults, default))
    return HeadLayout(name, fields, cls)


def _is_variable(hints: Mapping[str, Any], name: str) -> bool:
    return not all(layout(hint, f"field `{own}` of {name}").is_fixed for own, hint in hints.items())


def _refuse_gaps(name: str, layouts: Mapping[str, Layout]) -> None:
    end, widest = 0, 1
    for own, found in layouts.items():
        size, align = found.plan.size or 1, found.plan.align or 1
        if gap := -end % align:
            _refuse_gap(name, gap, end, f"before field `{own}`")
        end, widest = end + size, max(widest, align)
    if gap := -end % widest:
        _refuse_gap(name, gap, end, "at the end")


def _refuse_gap(name: str, gap: int, at: int, where: str) -> typing.NoReturn:
    message = (
        f"{name}: repr(C) leaves a gap of {gap} bytes at offset {at}, {where}, and payloads have none; fill it with "
        f"`_pad: Annotated[bytes, {gap}] = tachyon.pad()` {where}, or order the fields by size"
    )
    raise TypeError(message)


class _Written(typing.NamedTuple):
    """The fields of a Struct, as its class statement says them."""

    hints: dict[str, Any]
    defaults: dict[str, Any]
    extensible: bool


@dataclass_transform(kw_only_default=True, eq_default=True, field_specifiers=(pad,))
class _StructType(type):
    """Lays a Struct out when its class is made."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], *, extensible: bool = False) -> Any:
        """Make the class, or raise naming the field that cannot be laid out."""
        namespace.setdefault("__slots__", ())
        if "VariableStruct" not in globals():
            return super().__new__(mcs, name, bases, namespace)
        for base in bases:
            if base not in {Struct, FixedStruct, VariableStruct} and issubclass(base, Struct):
                message = f"{name}: a Struct is not extended; make a {base.__name__} one of its fields"
                raise TypeError(message)
        if not name.isidentifier():
            message = f"{name!r} is no name of a Struct: the name travels, and must be an identifier"
            raise TypeError(message)
        caller = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        # As `type` does for a class made without a class statement.
        namespace.setdefault("__module__", caller.f_globals.get("__name__", __name__))
        if namespace.keys() <= {"__module__", "__slots__"}:
            # A class statement leaves more: cloudpickle makes such a class, and then sets its parts.
            return super().__new__(mcs, name, bases, namespace)
        written = namespace.get("__annotations__")
        if written is None:  # From Python 3.14 on annotations are lazy.
            written = super().__new__(mcs, name, bases, dict(namespace)).__annotations__
        hints = _own_hints(name, written, namespace["__module__"], caller.f_locals)
        defaults = {own: namespace.pop(own) for own in hints if own in namespace}
        kind = VariableStruct if extensible or _is_variable(hints, name) else FixedStruct
        bases = tuple(kind if base is Struct else base for base in bases)
        cls = super().__new__(mcs, name, bases, namespace)
        _lay_out(cls, _Written(hints, defaults, extensible))
        return cls

    def __init__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], *, extensible: bool = False
    ) -> None:
        """Accept the same arguments as `__new__`."""
        del extensible
        super().__init__(name, bases, namespace)

    @property
    def __signature__(cls: Any) -> inspect.Signature:
        """The constructor's parameters, which are keywords, with their hints and defaults."""
        import inspect  # noqa: PLC0415 - a slow import

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
        """Refuse to replace a field; lay out a class that cloudpickle makes."""
        if isinstance(value, LaidOut):
            return
        if isinstance(value, _Written):
            # A class made in this process, or received before, is laid out already.
            if "__layout__" not in cls.__dict__:
                _lay_out(cls, value)
            return
        if name in cls.__dict__ and isinstance(cls.__dict__[name], Field):
            message = f"{name} is a field of every {cls.__name__}; set it on an instance"
            raise AttributeError(message)
        super().__setattr__(name, value)


def _lay_out(cls: Any, written: _Written) -> None:
    """Give a class its fields and the attributes derived from them."""
    own = _place_fields(cls, written.hints, written.defaults, extensible=written.extensible)
    plan = own.plan
    fields = {
        name: Field(plan, index, f"{cls.__name__}.{name}", name, layout(hint, name))
        for index, (name, hint) in enumerate(written.hints.items())
    }
    shown = {name: field for name, field in fields.items() if not field.is_padding}
    own.by_name = shown
    parts: dict[str, Any] = fields | {
        "__match_args__": cls.__dict__.get("__match_args__", tuple(shown)),
        "__tachyon_required__": frozenset(shown.keys() - written.defaults.keys()),
        "__tachyon_written__": written,
        "__layout__": own,
    }
    if isinstance(own, StructLayout):
        blank = _view(cls, memoryview(bytearray(plan.size or 0)), 0, plan.size or 0)
        for name, default in written.defaults.items():
            if default is not _PAD:
                fields[name].__set__(blank, default)
        parts["__tachyon_blank__"] = bytes(cast("Memory", blank))
    for name, part in parts.items():
        type.__setattr__(cls, name, part)


class _DType:
    """`dtype`, of a class and of its instances."""

    def __get__(self, instance: Struct | None, owner: type[Struct]) -> Any:
        if isinstance(owner.__dict__.get("__layout__"), HeadLayout):
            message = f"{owner.__name__} has no dtype, since it has no fixed size"
            raise AttributeError(message)  # noqa: TRY004 - the error of a missing attribute
        try:
            import numpy as np  # noqa: PLC0415 - numpy is optional
        except ImportError as error:
            # `hasattr`, `help` and `inspect.getmembers` handle an AttributeError, but no ImportError.
            message = f"{owner.__name__}.dtype needs numpy, which cannot be imported ({error}); install numpy"
            raise AttributeError(message) from error

        return np.dtype(owner.__layout__.dtype())


if TYPE_CHECKING:
    _Shape = Memory
else:
    _Shape = object


class Struct(_Shape, metaclass=_StructType):
    """Fields with the layout of a Rust `#[tachyon::payload]` struct.

    ::

        class PriceRequest(tachyon.Struct):
            instrument: tachyon.u64
            quantity: tachyon.i32 = 1
            _pad: Annotated[bytes, 4] = tachyon.pad()

    Values are checked when they are assigned: every conversion is exact, or an error.

    A Struct of numbers, enums, other such Structs and Annotated bytes, text and arrays has a fixed size. Its
    constructor gives it memory of its own. A handler whose only parameter is such a Struct gets a view of the request:
    it is read in place, cannot be changed, and ends with the call; keep a `copy()`. `dtype` is the same type for numpy,
    and the buffer holds the bytes that travel.

    A Struct with a field of `str`, `bytes`, `list`, `Array`, a numpy array or `X | None` holds values, and has neither
    a dtype nor a buffer; `bytes(scan)` gives the bytes that travel. In a handler its arrays are views of the request,
    and all other fields are copies. Such a Struct can grow: new fields go to the end, as `X | None = None` or with
    another default, which a receiver uses if the sender does not know the field. `extensible=True` in the class
    statement makes a Struct of a fixed size extensible.

    A Struct compares, prints, copies and pickles by its fields, and matches them by position, `case Point(x, y)`, and
    by name; padding is left out. A field with the name of a keyword, or of an attribute of every Struct (`copy`,
    `dtype`, `from_bytes`, `replace`), is written with a trailing underscore, `class_`, and travels as `class`.
    """

    if TYPE_CHECKING:
        __layout__: ClassVar[StructLayout | HeadLayout]
        dtype: ClassVar[np.dtype[np.void]]
        """The same type for numpy: `numpy.frombuffer(data, dtype=PriceRequest.dtype)`."""
        __tachyon_required__: ClassVar[frozenset[str]]
    else:
        dtype = _DType()

        def __new__(cls, /, **fields: Any) -> Self:
            """Refuse: only a class with fields has a constructor."""
            del fields
            message = "Struct has no fields; derive a class from it: class PriceRequest(tachyon.Struct): ..."
            raise TypeError(message)

        def __init__(self, /, **fields: Any) -> None:
            """Accept the same arguments as `__new__`."""

    @classmethod
    def from_bytes(cls, data: Any) -> Self:
        """Make a Struct of the bytes that travel, such as a message of a `Bus`.

        Raises BadRequestError if the bytes do not decode.
        """
        made: Self = cls.__layout__.plan.decode(data, cls.__name__)
        return made

    def copy(self) -> Self:
        """Make a Struct of the same values with memory of its own."""
        return type(self).from_bytes(bytes(self))

    __copy__ = copy

    def replace(self, /, **changes: Any) -> Self:
        """Make a copy in which some fields have other values: `order.replace(quantity=3)`.

        From Python 3.13 on `copy.replace(order, quantity=3)` is the same.
        """
        made = self.copy()
        _set(made, changes)
        return made

    __replace__ = replace

    def __deepcopy__(self, memo: object) -> Self:
        """Make a copy: `copy` is a deep copy."""
        return self.copy()

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Any, ...]]:
        """Pickle the class and the bytes."""
        return _unpickled, (type(self), bytes(self))

    def __eq__(self, other: object) -> bool:
        """Compare field by field with a Struct of the same class."""
        if type(other) is not type(self):
            return NotImplemented
        return all(_same(getattr(self, name), getattr(other, name)) for name in self.__layout__.by_name)

    # Values change.
    __hash__: ClassVar[None] = None  # type: ignore[assignment] # pyright: ignore[reportIncompatibleMethodOverride]

    def __repr__(self) -> str:
        """Show the class and its values, as Python code."""
        try:
            values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__layout__.by_name)
        except (ReleasedError, AttributeError):
            return f"<{type(self).__name__}, a view of a request that is over>"
        return f"{type(self).__name__}({values})"


def by_name(owner: str, names: Iterable[str]) -> TypeError:
    """Make the error for fields passed by position."""
    fields = ", ".join(f"{name}=..." for name in names)
    return TypeError(f"{owner} takes its fields by name: {owner}({fields})")


def _set(made: Struct, values: Mapping[str, Any]) -> None:
    own = made.__layout__.by_name
    for name, value in values.items():
        if name not in own:
            message = f"{type(made).__name__} has no field `{name}`; it has {', '.join(own)}"
            raise TypeError(message)
        setattr(made, name, value)


def _same(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, list):
        values: list[Any] = mine  # pyright: ignore[reportUnknownVariableType]
        others: list[Any] = theirs if isinstance(theirs, list) else []  # pyright: ignore[reportUnknownVariableType]
        return isinstance(theirs, list) and len(values) == len(others) and all(map(_same, values, others))
    if mine is None or theirs is None:
        return mine is theirs
    if isinstance(mine, (Struct, memoryview)) or not hasattr(mine, "shape"):
        return bool(mine == theirs)
    # Numpy arrays of one shape compare value by value.
    return bool(mine.shape == theirs.shape and (mine == theirs).all())


def _check_given(cls: type[Struct], fields: Mapping[str, Any]) -> None:
    if missing := cls.__tachyon_required__ - fields.keys():
        names = ", ".join(f"`{name}`" for name in cls.__layout__.by_name if name in missing)
        message = f"{cls.__name__} needs a value for {names}"
        raise TypeError(message)


class FixedStruct(Struct, Memory):
    """The base of Structs of a fixed size, which are memory."""

    if TYPE_CHECKING:
        __tachyon_blank__: ClassVar[bytes]
    else:

        def __new__(cls, /, *values: Any, **fields: Any) -> Self:
            """Make a Struct of these values, the defaults of other fields, and zeros for padding."""
            if values:
                raise by_name(cls.__name__, cls.__layout__.by_name)
            blank = bytearray(cls.__tachyon_blank__)
            self = _view(cls, memoryview(blank), 0, len(blank))
            _set(self, fields)
            _check_given(cls, fields)
            return self


if TYPE_CHECKING:
    _ValuesBase = object
else:
    _ValuesBase = Values


class VariableStruct(Struct, _ValuesBase):
    """The base of Structs without a fixed size, which hold values."""

    if not TYPE_CHECKING:

        def __new__(cls, /, *values: Any, **fields: Any) -> Self:
            """Make a Struct of these values and the defaults of other fields."""
            if values:
                raise by_name(cls.__name__, cls.__layout__.by_name)
            self = Values.__new__(cls)
            _set(self, fields)
            _check_given(cls, fields)
            for name, field in cls.__layout__.by_name.items():
                if name not in fields:
                    field.reset(self)
            return self

        def __bytes__(self) -> bytes:
            """Give the bytes that travel."""
            return self.__layout__.plan.encode(self, type(self).__name__)


def _view(cls: type[_S], view: memoryview, at: int, size: int) -> _S:
    make: Any = Memory.__new__
    made: _S = make(cls, view, at, size, "B")
    return made


def _unpickled(cls: type[_S], data: bytes) -> _S:
    return cls.from_bytes(data)
