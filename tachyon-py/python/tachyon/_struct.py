"""Struct: a class whose fields lie in memory as Rust's `repr(C)` lays them out, or that holds values.

Fields have every name but a few, so what a Struct has for itself is called `__tachyon_*__`.
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

    Padding begins with an underscore. It is no argument of the constructor, which is what this tells a type checker,
    and takes no part in comparing and printing.
    """
    del init
    return _PAD


class _Pad:
    """The value of `pad()`; there is one."""

    def __repr__(self) -> str:
        """Show it as it is written."""
        return "tachyon.pad()"

    def __reduce__(self) -> str:
        """Pickle its name, since it is told by its identity."""
        return "_PAD"


_PAD: typing.Final = _Pad()


class Field(FieldCore):
    """One field: reads and writes."""

    __slots__ = ("layout", "name")
    layout: Layout
    name: str

    def __new__(cls, plan: Plan, index: int, place: str, name: str, layout: Layout) -> Self:
        """Be number `index` of the payload that the plan is of, called `name`."""
        self = super().__new__(cls, plan, index, place)
        self.name = name
        self.layout = layout
        return self

    @property
    def is_padding(self) -> bool:
        """Whether it means nothing."""
        return is_padding(self.name)

    def __repr__(self) -> str:
        """Say what it is."""
        return f"<{self.place}: {self.layout.name}>"

    def __reduce__(self) -> tuple[Callable[..., object], tuple[()]]:
        """Pickle nothing: a class that is pickled by value is laid out again by what it was `_Written` as."""
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
            message = f"{place}: a Struct cannot contain itself, since a message could nest it without an end"
            raise TypeError(message) from None
        message = f"{place}: the hint {written!r} cannot be resolved ({error}); import what it names at run time"
        raise TypeError(message) from None
    except Exception as error:  # noqa: BLE001 - a hint is any expression
        message = f"{place}: the hint {written!r} cannot be resolved ({error}); import what it names at run time"
        raise TypeError(message) from None


def resolved(cls: type, around: Mapping[str, Any]) -> dict[str, Any]:
    """Give a class's own hints, but for those of the class itself; `around` has the names where it stands."""
    import inspect  # noqa: PLC0415 - costs more than this module does

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
    message = f"{name} has no fields: a Struct is at least one, such as `id: tachyon.u64`"
    raise TypeError(message)


def _place_fields(
    cls: Any, hints: Mapping[str, Any], defaults: Mapping[str, Any], *, extensible: bool
) -> StructLayout | HeadLayout:
    """Lay the fields of a class out: without a fixed size if one of them has none."""
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
    """Everything about a Struct's fields that its class statement says."""

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
        kind = VariableStruct if extensible or _is_variable(hints, name) else FixedStruct
        bases = tuple(kind if base is Struct else base for base in bases)
        cls = super().__new__(mcs, name, bases, namespace)
        _lay_out(cls, _Written(hints, defaults, extensible))
        return cls

    def __init__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], *, extensible: bool = False
    ) -> None:
        """Do nothing more."""
        del extensible
        super().__init__(name, bases, namespace)

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
        if isinstance(value, LaidOut):
            return
        if isinstance(value, _Written):
            # One that was made here, or received before, is sent its parts once more.
            if "__layout__" not in cls.__dict__:
                _lay_out(cls, value)
            return
        if name in cls.__dict__ and isinstance(cls.__dict__[name], Field):
            message = f"{name} is a field of every {cls.__name__}; set it on one of them"
            raise AttributeError(message)
        super().__setattr__(name, value)


def _lay_out(cls: Any, written: _Written) -> None:
    """Give a class its fields and everything that is made of them."""
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
        blank = _lend(cls, memoryview(bytearray(plan.size or 0)), 0, plan.size or 0)
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
            raise AttributeError(message)  # noqa: TRY004 - what an attribute that is not there raises
        try:
            import numpy as np  # noqa: PLC0415 - numpy is optional
        except ImportError as error:
            # Not an ImportError: `hasattr`, `help` and `inspect.getmembers` only know this one.
            message = f"{owner.__name__}.dtype needs numpy, which cannot be imported ({error}); install numpy"
            raise AttributeError(message) from error

        return np.dtype(owner.__layout__.dtype())


if TYPE_CHECKING:
    _Shape = Memory
else:
    _Shape = object


class Struct(_Shape, metaclass=_StructType):
    """Fields, laid out as in a Rust `#[tachyon::payload]` struct.

    ::

        class PriceRequest(tachyon.Struct):
            instrument: tachyon.u64
            quantity: tachyon.i32 = 1
            _pad: Annotated[bytes, 4] = tachyon.pad()

    Values are checked when they are assigned: nothing is converted with loss.

    A Struct of numbers, enums, other such Structs and Annotated bytes, text and arrays has a fixed size. One that is
    made here has memory of its own. The one that a handler gets alone is a view of the request: it is read in place,
    cannot be changed, and ends with the call; `copy()` is what to keep. `dtype` is the same type for numpy, and the
    buffer is the bytes as they travel.

    A Struct with a field of `str`, `bytes`, `list`, `Array`, an array of numpy or `X | None` holds values, and has
    neither a dtype nor a buffer; `bytes(scan)` is how it travels. In a handler its arrays are views of the request, and
    all else is the receiver's own. Such a Struct can grow: fields are added at the end, as `X | None = None` or with
    any other default, which stands for them where the sender does not know them. `extensible=True` in the class
    statement makes one of a Struct of a fixed size.

    A Struct compares, prints, copies and pickles by its fields, and matches them by position, `case Point(x, y)`, and
    by name; padding takes no part. A field that has the name of a keyword, or of what every Struct has (`copy`,
    `dtype`, `from_bytes`, `replace`), is written with an underscore behind it, `class_`, and travels as `class`.
    """

    if TYPE_CHECKING:
        __layout__: ClassVar[StructLayout | HeadLayout]
        dtype: ClassVar[np.dtype[np.void]]
        """The same type for numpy: `numpy.frombuffer(data, dtype=PriceRequest.dtype)`."""
        __tachyon_required__: ClassVar[frozenset[str]]
    else:
        dtype = _DType()

        def __new__(cls, /, **fields: Any) -> Self:
            """Refuse: a class with fields has another."""
            del fields
            message = "a Struct has fields: make a class of it, class PriceRequest(tachyon.Struct): ..."
            raise TypeError(message)

        def __init__(self, /, **fields: Any) -> None:
            """Do nothing more."""

    @classmethod
    def from_bytes(cls, data: Any) -> Self:
        """Make a Struct of bytes as they travel, such as a message of a `Bus`.

        Raises BadRequestError if they are no such value.
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
        """Make a copy, which is as deep as a Struct is."""
        return self.copy()

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Any, ...]]:
        """Pickle the class and the bytes."""
        return _unpickled, (type(self), bytes(self))

    def __eq__(self, other: object) -> bool:
        """Compare field by field with a Struct of the same class."""
        if type(other) is not type(self):
            return NotImplemented
        return all(_same(getattr(self, name), getattr(other, name)) for name in self.__layout__.by_name)

    __hash__: ClassVar[None] = None  # type: ignore[assignment] # pyright: ignore[reportIncompatibleMethodOverride] - values change

    def __repr__(self) -> str:
        """Show the class and its values, as one would write them."""
        try:
            values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__layout__.by_name)
        except (ReleasedError, AttributeError):
            return f"<{type(self).__name__}, a view of a request that is over>"
        return f"{type(self).__name__}({values})"


def by_name(owner: str, names: Iterable[str]) -> TypeError:
    """Make the error for fields that are given by position."""
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
        return isinstance(theirs, list) and len(values) == len(theirs) and all(map(_same, values, theirs))  # pyright: ignore[reportUnknownArgumentType]
    if mine is None or theirs is None:
        return mine is theirs
    if isinstance(mine, (Struct, memoryview)) or not hasattr(mine, "shape"):
        return bool(mine == theirs)
    # An array of numpy compares value by value, if there are as many.
    return bool(mine.shape == theirs.shape and (mine == theirs).all())


def _check_given(cls: type[Struct], fields: Mapping[str, Any]) -> None:
    if missing := cls.__tachyon_required__ - fields.keys():
        names = ", ".join(f"`{name}`" for name in cls.__layout__.by_name if name in missing)
        message = f"{cls.__name__} needs a value for {names}"
        raise TypeError(message)


class FixedStruct(Struct, Memory):
    """The base of Structs of a fixed size: they are memory."""

    if TYPE_CHECKING:
        __tachyon_blank__: ClassVar[bytes]
    else:

        def __new__(cls, /, *values: Any, **fields: Any) -> Self:
            """Make a Struct of the given values, the others' defaults, and zeros for padding."""
            if values:
                raise by_name(cls.__name__, cls.__layout__.by_name)
            blank = bytearray(cls.__tachyon_blank__)
            self = _lend(cls, memoryview(blank), 0, len(blank))
            _set(self, fields)
            _check_given(cls, fields)
            return self


if TYPE_CHECKING:
    _Held = object
else:
    _Held = Values


class VariableStruct(Struct, _Held):
    """The base of Structs without a fixed size: they hold values."""

    if not TYPE_CHECKING:

        def __new__(cls, /, *values: Any, **fields: Any) -> Self:
            """Make a Struct of the given values and the others' defaults."""
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
            """Give the Struct as it travels."""
            return self.__layout__.plan.encode(self, type(self).__name__)


def _lend(cls: type[_S], view: memoryview, at: int, size: int) -> _S:
    make: Any = Memory.__new__
    made: _S = make(cls, view, at, size, "B")
    return made


def _unpickled(cls: type[_S], data: bytes) -> _S:
    return cls.from_bytes(data)
