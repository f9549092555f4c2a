"""Errors that an endpoint declares: they travel by the name of their class and their fields."""

from __future__ import annotations

import string
import sys
from typing import TYPE_CHECKING, Any, ClassVar, cast, dataclass_transform

from tachyon._hints import layout
from tachyon._layout import HeadField, HeadLayout, Types, own_doc
from tachyon._names import normal, objection, wire_name
from tachyon._struct import by_name, resolved
from tachyon.errors import (
    _ANSWERS,  # pyright: ignore[reportPrivateUsage]
    _NO_REQUEST,  # pyright: ignore[reportPrivateUsage]
    ErrorKind,
    RpcError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

OF_ERRORS = frozenset(
    {*(name for name in dir(RpcError) if not name.startswith("_")), "kind", "msg_type", "name", "payload", "text"}
)
"""Attributes of every error."""

_KINDS = (ErrorKind.HANDLER_FAILED, *(answer.reply_kind for answer in _ANSWERS))
"""The kinds that a declared error can have."""


@dataclass_transform(kw_only_default=True, eq_default=False, frozen_default=True)
class EndpointError(RpcError):
    """An error that an endpoint declares.

    ::

        class NoSensor(tachyon.EndpointError, text="no sensor {sensor}", kind=tachyon.ErrorKind.NOT_FOUND):
            sensor: tachyon.u32

        @tachyon.tachyon_rpc(msg_type=4, raises=(NoSensor,))
        def read(sensor: tachyon.u32) -> tachyon.f64: ...

    The handler raises `NoSensor(sensor=3)`, and so does the call. Fields are keyword arguments and read-only
    attributes; `str()` gives the text. Such an error is an answer and no failure: the callee reports nothing. An error
    that is not among `raises` arrives with its name and text, as the class of its kind: by default as `HandlerError`.
    """

    if TYPE_CHECKING:
        __layout__: ClassVar[HeadLayout]
    __tachyon_text__: ClassVar[str] = ""

    def __init_subclass__(
        cls, *, text: str | None = None, kind: ErrorKind = ErrorKind.HANDLER_FAILED, **kwargs: Any
    ) -> None:
        """Read the fields, and check that the text names only fields."""
        super().__init_subclass__(**kwargs)
        # The number of a kind equals the kind, and has no name for a description.
        if kind not in _KINDS or type(kind) is not ErrorKind:
            known = ", ".join(each.name for each in _KINDS)
            message = f"{cls.__name__}: {kind!r} is no kind of a declared error; write kind=ErrorKind.X, X of {known}"
            raise TypeError(message)
        cls.reply_kind = kind
        for base in cls.__mro__[1:]:
            if base is not EndpointError and issubclass(base, EndpointError):
                message = f"{cls.__name__}: a declared error is not extended; derive from tachyon.EndpointError"
                raise TypeError(message)
        around = sys._getframe(1).f_locals  # pyright: ignore[reportPrivateUsage]
        cls.__layout__ = HeadLayout(cls.__name__, _fields(cls, around))
        cls.__tachyon_text__ = cls.__name__ if text is None else text
        _check_text(cls)

    def __init__(self, /, *values: Any, **fields: Any) -> None:
        """Make an error with these fields."""
        cls = type(self)
        if cls is EndpointError:
            message = "EndpointError has no fields; derive a class from it: class Busy(tachyon.EndpointError): ..."
            raise TypeError(message)
        own = {_attribute(field): field for field in cls.__layout__.fields}
        if values:
            raise by_name(cls.__name__, own)
        for name in fields:
            if name not in own:
                message = f"{cls.__name__} has no field `{name}`; it has {', '.join(own) or 'none'}"
                raise TypeError(message)
        if missing := [name for name, field in own.items() if name not in fields and not field.has_default]:
            names = ", ".join(f"`{name}`" for name in missing)
            message = f"{cls.__name__} needs a value for {names}"
            raise TypeError(message)
        given = {
            name: field.layout.plan.normal(fields[name], field.place)
            if name in fields
            else field.layout.as_received(field.default, field.place)
            for name, field in own.items()
        }
        self._become(given, _NO_REQUEST, None, self.reply_kind)

    def _become(self, values: dict[str, Any], msg_type: int, text: str | None, kind: int) -> None:
        own = _filled_in(type(self), values) if text is None else text
        RpcError.__init__(self, kind, msg_type, own, b"", type(self).__name__)
        self.__tachyon_values__: dict[str, Any] = values

    def __str__(self) -> str:
        """Give the text."""
        return self.text

    def __repr__(self) -> str:
        """Show the class and its fields, as Python code."""
        values = ", ".join(f"{name}={value!r}" for name, value in self.__tachyon_values__.items())
        return f"{type(self).__name__}({values})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the class, the fields, the msg_type, the text and the kind."""
        return _made, (type(self), self.__tachyon_values__, self.msg_type, self.text, self.kind)


class _Attribute:
    """One field of an error, which is read-only."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: EndpointError | None, owner: type[EndpointError]) -> Any:
        return self if instance is None else instance.__tachyon_values__[self._name]

    def __set__(self, instance: EndpointError, value: object) -> None:
        message = f"{type(instance).__name__}.{self._name} is read-only; raise another error"
        raise AttributeError(message)


def _attribute(field: HeadField) -> str:
    return field.place.rpartition(".")[2]


def _fields(cls: type[EndpointError], around: Mapping[str, Any]) -> list[HeadField]:
    fields: list[HeadField] = []
    for name, hint in resolved(cls, around).items():
        if refused := objection(name, OF_ERRORS, "an error"):
            message = f"field `{name}` of {cls.__name__}: {refused}"
            raise TypeError(message)
        found = layout(hint, f"field `{name}` of {cls.__name__}")
        has_default = name in cls.__dict__
        default = found.as_received(cls.__dict__[name], f"{cls.__name__}.{name}") if has_default else None
        fields.append(HeadField(wire_name(name, OF_ERRORS), f"{cls.__name__}.{name}", found, has_default, default))
        setattr(cls, name, _Attribute(name))
    return fields


class _Any:
    """A placeholder for the value of a field, which every format spec fits."""

    def __format__(self, spec: str, /) -> str:
        return ""


def _filled_in(cls: type[EndpointError], values: dict[str, Any]) -> str:
    try:
        return cls.__tachyon_text__.format(**values)
    except Exception:  # noqa: BLE001 - a format spec may not fit a value, such as None; the error is raised even so
        return cls.__name__


def _named(text: str) -> Iterator[str]:
    for _, name, spec, _ in string.Formatter().parse(text):
        if name is not None:
            yield name
        # A format spec may name fields too: `{price:.{digits}f}`.
        yield from _named(spec or "")


def _check_text(cls: type[EndpointError]) -> None:
    own = {_attribute(field) for field in cls.__layout__.fields}
    try:
        named = list(_named(cls.__tachyon_text__))
    except ValueError as error:
        message = f"the text of {cls.__name__} is no valid format string: {error}"
        raise TypeError(message) from None
    for name in named:
        if name not in own:
            message = (
                f"the text of {cls.__name__} names {{{name}}}, and its fields are {', '.join(sorted(own)) or 'none'}"
            )
            raise TypeError(message)
    try:
        # Formatted once: parsing alone finds neither invalid conversions nor specs that are nested too deeply.
        cls.__tachyon_text__.format(**dict.fromkeys(own, _Any()))
    except ValueError as error:
        message = f"the text of {cls.__name__} is no valid format string: {error}"
        raise TypeError(message) from None


def _made(
    cls: type[EndpointError], values: dict[str, Any], msg_type: int, text: str | None, kind: int
) -> EndpointError:
    error = cls.__new__(cls)
    error._become(values, msg_type, text, kind)  # pyright: ignore[reportPrivateUsage]
    return error


def received(cls: type[EndpointError], values: tuple[Any, ...], msg_type: int, text: str, kind: int) -> EndpointError:
    """Make the error that arrived, with the callee's text, or with its own if the callee hides texts."""
    named = {_attribute(field): value for field, value in zip(cls.__layout__.fields, values, strict=True)}
    return _made(cls, named, msg_type, text or None, kind)


def sent(error: EndpointError, is_declared: bool) -> tuple[int, str, str, bytes]:  # noqa: FBT001  # called by the core
    """Give the parts of an error that travel: kind, name, text and, for a declared error, the fields as a head."""
    own = error.__layout__
    if not is_declared:
        return error.kind, own.name, error.text, b""
    values = [error.__tachyon_values__[_attribute(field)] for field in own.fields]
    fields = own.plan.encode_fields(values) if values else b""
    return error.kind, own.name, error.text, fields


def raised(classes: object) -> list[type[EndpointError]]:
    """Check the `raises` of an endpoint."""
    if classes is None:
        return []
    given: Iterable[object] = cast("Iterable[object]", classes) if isinstance(classes, (tuple, list)) else (classes,)
    found: list[type[EndpointError]] = []
    for each in given:
        if not (isinstance(each, type) and issubclass(each, EndpointError) and each is not EndpointError):
            message = f"`raises` takes classes that derive from tachyon.EndpointError, not {each!r}"
            raise TypeError(message)
        if any(normal(each.__name__) == normal(other.__name__) for other in found):
            message = f"`raises` has two errors of the name {each.__name__}, and errors travel by name; rename one"
            raise TypeError(message)
        found.append(each)
    return found


def describe(error: type[EndpointError], types: Types) -> dict[str, Any]:
    """Give an error for a description."""
    described: dict[str, Any] = {"name": error.__name__}
    if error.reply_kind is not ErrorKind.HANDLER_FAILED:
        described["kind"] = error.reply_kind.word
    if doc := own_doc(error):
        described["doc"] = doc
    return described | (error.__layout__.head(types) if error.__layout__.fields else {})
