"""Contracts of endpoints, read from the type hints of their functions."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import sys
import typing
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from tachyon._declared import describe, raised
from tachyon._forms import EMPTY, RAW, Form, form, whole
from tachyon._hints import layout
from tachyon._layout import HeadField, HeadLayout, Layout, OptionLayout, Types
from tachyon._names import normal, wire_name
from tachyon._shapes import check
from tachyon._stream_hints import StreamHint, check_items, check_reply, runs, stream_hint
from tachyon._tachyon import Contract

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tachyon._declared import EndpointError


def _name(function: Callable[..., Any]) -> str:
    name: object = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def doc_of(function: Callable[..., Any]) -> str:
    """Give a function's own docstring, tidied. Other callables only have the docstring of their type: none."""
    return (inspect.getdoc(function) or "") if inspect.isroutine(function) else ""


def contract_of(function: Callable[..., Any], msg_type: int, raises: object, codec: object = None) -> Contract | None:
    """Read a function's hints; None if the request is a view of bytes and there is one reply of bytes.

    Raises TypeError for a function that cannot take a request, and for a hint that cannot travel.
    """
    _check_codec(codec)
    errors = raised(raises)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        check(function, _name(function), None)
        if codec is not None:
            message = f"{_name(function)} has no signature, and the codec needs hints"
            raise TypeError(message) from None
        return None  # Builtins without a signature.
    check(function, getattr(function, "__qualname__", _name(function)).rpartition("<locals>.")[2], signature)
    # Hints in strings may name classes of the function around the decorator.
    around = sys._getframe(1).f_locals  # pyright: ignore[reportPrivateUsage]
    read = _read(function, signature, around, codec)
    is_plain = read.request is RAW and read.reply.is_raw and not errors and not read.is_stream
    if is_plain and not any(has_default for _, _, has_default, _ in read.parameters):
        return None
    return _made(function, msg_type, errors, read, is_method=False)


def given(*arguments: Any) -> tuple[Any, ...]:
    """Return the arguments of a request, for a handler that also takes items."""
    return arguments


def _check_codec(codec: object) -> None:
    if codec not in {None, "msgpack"}:
        message = f'the one codec with a name is msgpack, not {codec!r}; write codec="msgpack", or leave it out'
        raise ValueError(message)


def method_contract(  # noqa: PLR0913, PLR0917  # called by the Service alone
    function: Callable[..., Any], place: str, msg_type: int, raises: object, codec: object, around: Mapping[str, Any]
) -> tuple[Contract, dict[str, Any]]:
    """Read the hints of a method of a Service: its contract, and its resolved hints. Raises as `contract_of`."""
    _check_codec(codec)
    errors = raised(raises)
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if not parameters or parameters[0].name != "self" or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
        message = f"{place} has no `self`; the parameters of a method of a Service begin with it"
        raise TypeError(message)
    own = signature.replace(parameters=parameters[1:])
    check(function, place, own)
    read = _read(function, own, around, codec)
    return _made(function, msg_type, errors, read, is_method=True), read.hints


_Parameter: TypeAlias = tuple[str, bool, bool, Any]
"""A parameter for the extension: name, positional-only or not, has a default or not, the default."""


class _Read(NamedTuple):
    """The hints of a function: its forms, its parameters but that of the items, and the resolved hints."""

    request: Form
    items: Form | None
    reply: Form
    streams: bool
    parameters: list[_Parameter]
    hints: dict[str, Any]

    @property
    def is_stream(self) -> bool:
        """Whether items travel in one of the directions."""
        return self.streams or self.items is not None


def _read(
    function: Callable[..., Any], signature: inspect.Signature, around: Mapping[str, Any], codec: object
) -> _Read:
    name = _name(function)
    parameters = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
    ]
    hints = {
        own.name: _resolved(function, own.name, own.annotation, around)
        for own in parameters
        if own.annotation is not inspect.Parameter.empty
    }
    returns: Any = signature.return_annotation
    if returns is not inspect.Signature.empty:
        returns = hints["return"] = _resolved(function, "return", returns, around)
    replies = stream_hint(returns, f"the reply of {name}")
    check_reply(function, name, returns, replies)
    taken = _items(function, name, parameters, hints, replies)
    if taken is not None:
        del parameters[-1]
    one_reply = returns if replies is None else replies.items
    items = None
    if codec is None:
        request = _request(name, parameters, hints)
        what = "the reply" if replies is None else "an item"
        reply = RAW if one_reply is inspect.Signature.empty else form(one_reply, f"{what} of {name}")
        if taken is not None:
            items = form(taken.items, f"an item for {name}")
    else:
        request, reply = _packed(name, parameters, hints, one_reply)
        if taken is not None:
            items = _packed_items(name, taken.items)
    made = [_parameter(own, hints.get(own.name), request, name) for own in parameters]
    return _Read(request, items, reply, replies is not None or runs(function).generator, made, hints)


def _items(
    function: Callable[..., Any],
    name: str,
    parameters: list[inspect.Parameter],
    hints: Mapping[str, Any],
    replies: StreamHint | None,
) -> StreamHint | None:
    """Find the parameter of the caller's items, the last one; None without one."""
    for at, own in enumerate(parameters):
        place = f"parameter `{own.name}` of {name}"
        found = stream_hint(hints.get(own.name), place)
        if found is None:
            continue
        if at + 1 < len(parameters):
            message = f"{place} is the stream of the caller's items; put it last, after the arguments"
            raise TypeError(message)
        if own.default is not inspect.Parameter.empty:
            message = f"{place} is the stream of the caller's items, which has no default; remove it"
            raise TypeError(message)
        check_items(function, place, found, replies)
        return found
    return None


def _made(
    function: Callable[..., Any], msg_type: int, errors: list[type[EndpointError]], read: _Read, *, is_method: bool
) -> Contract:
    request, items, reply, streams, parameters, _ = read
    return Contract(
        _name(function),
        describe_endpoint(function, msg_type, (request, reply), errors, items=items, streams=streams),
        request.parts,
        reply.parts,
        parameters,
        [(error.__name__, error, error.__layout__.plan if error.__layout__.fields else None) for error in errors],
        is_method,
        items and items.parts,
    )


def _request(name: str, parameters: list[inspect.Parameter], hints: Mapping[str, Any]) -> Form:
    if not parameters:
        return EMPTY
    if len(parameters) == 1:
        own = parameters[0]
        if own.name not in hints:
            return RAW
        found = form(hints[own.name], f"parameter `{own.name}` of {name}")
        if (found.kind != "fields" and own.default is inspect.Parameter.empty) or found.layout is None:
            return found
    fields: list[HeadField] = []
    for own in parameters:
        place = f"parameter `{own.name}` of {name}"
        if own.name not in hints:
            message = f"{place} has no hint; where there are several, each says what travels, such as tachyon.f64"
            raise TypeError(message)
        travels = _wire_name(own.name)
        made = layout(hints[own.name], place)
        has_default = own.default is not inspect.Parameter.empty
        default = _default(made, own.default, place) if has_default else None
        fields.append(HeadField(travels, f"argument `{travels}` of {name}", made, has_default, default))
    if len({field.name for field in fields}) < len(fields):
        message = f"{name}: two parameters travel under the same name, without the underscore at either end; rename one"
        raise TypeError(message)
    if len(fields) == 1 and not isinstance(fields[0].layout, OptionLayout):
        # One argument travels without a head; the caller fills in its default.
        return whole(fields[0].layout)
    return Form("fields", HeadLayout(name, fields))


def _packed(
    name: str, parameters: list[inspect.Parameter], hints: Mapping[str, Any], returns: Any
) -> tuple[Form, Form]:
    """Give the forms of an endpoint of the codec msgpack."""
    from tachyon import _msgpack  # noqa: PLC0415 - needs an optional dependency

    for own in parameters:
        if own.name not in hints:
            message = f"parameter `{own.name}` of {name} has no hint, by which the codec decodes it"
            raise TypeError(message)
    if returns is inspect.Signature.empty:
        message = f"{name} has no hint for its reply, by which the codec decodes it; write `-> None` for no value"
        raise TypeError(message)
    named = [(_wire_name(own.name), hints[own.name], own) for own in parameters]
    if len({wire for wire, _, _ in named}) < len(named):
        message = f"{name}: two parameters travel under the same name, without the underscore at either end; rename one"
        raise TypeError(message)
    return (
        Form("msgpack", codec=_msgpack.arguments(name, named)),
        Form("msgpack", codec=_msgpack.value(returns, f"the reply of {name}", "the reply")),
    )


def _packed_items(name: str, hint: Any) -> Form:
    from tachyon import _msgpack  # noqa: PLC0415 - needs an optional dependency

    return Form("msgpack", codec=_msgpack.value(hint, f"an item for {name}", "an item"))


def _wire_name(name: str) -> str:
    """Give the name under which an argument travels: `x` for `_x` and `x_`."""
    plain = wire_name(name, frozenset())
    return normal(plain[1:] if plain.startswith("_") and plain[1:].isidentifier() else plain)


def _default(made: Layout, default: Any, place: str) -> Any:
    try:
        return made.as_received(default, f"the default of {place}")
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(str(error)) from None


def _parameter(own: inspect.Parameter, hint: Any, request: Form, name: str) -> _Parameter:
    default = own.default
    if request.is_raw:
        # Other defaults, such as None, are for a local call only.
        has_default = isinstance(default, (bytes, bytearray, memoryview))
        default = bytes(default) if has_default else None
    elif request.kind == "msgpack":
        has_default = default is not inspect.Parameter.empty
    elif has_default := default is not inspect.Parameter.empty and hint is not None:
        place = f"parameter `{own.name}` of {name}"
        default = _default(layout(hint, place), default, place)
    return own.name, own.kind is own.POSITIONAL_ONLY, has_default, default if has_default else None


def describe_endpoint(  # noqa: PLR0913  # one for each member of the JSON
    function: Callable[..., Any],
    msg_type: int,
    forms: tuple[Form, Form],
    errors: list[type[EndpointError]],
    *,
    items: Form | None = None,
    streams: bool = False,
) -> str:
    """Give the description of the endpoint alone, as JSON. `forms` are those of the request and of the reply."""
    types = Types()
    request, reply = forms
    name = _name(function)
    endpoint: dict[str, Any] = {"msg_type": msg_type, "name": name if name.isidentifier() else f"endpoint_{msg_type}"}
    if doc := doc_of(function):
        endpoint["doc"] = doc
    endpoint["request"] = request.describe(types)
    if items is not None:
        endpoint["items"] = items.describe(types)
    endpoint["reply"] = reply.describe(types)
    if streams:
        endpoint["stream"] = True
    if errors:
        endpoint["raises"] = [describe(error, types) for error in errors]
    # An earlier reader refuses schema 3. It would take a stream for a unary endpoint.
    schema = 2 if items is None and not streams else 3
    return json.dumps({"schema": schema, "types": types.list, "endpoints": [endpoint]})


def resolved_or_none(function: Callable[..., Any], name: str, annotation: Any, around: Mapping[str, Any]) -> Any:
    """Give a hint of a function; None for one that cannot be resolved, such as a name for type checkers only."""
    try:
        return _resolved(function, name, annotation, around)
    except TypeError:
        return None


def _resolved(function: Callable[..., Any], name: str, annotation: Any, around: Mapping[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    plain = _runs(function)
    holder = type("Holder", (), {"__annotations__": {name: annotation}, "__module__": ""})
    known = {**getattr(plain, "__globals__", {}), **around, **_nonlocals(plain)}
    try:
        return typing.get_type_hints(holder, known, include_extras=True)[name]
    except Exception as error:  # noqa: BLE001 - a hint is any expression
        where = "of the reply" if name == "return" else f"of parameter `{name}`"
        message = (
            f"{_name(function)}: the hint {annotation!r} {where} cannot be resolved ({error}); "
            "import what it names at run time, or leave the hint out"
        )
        raise TypeError(message) from None


def _runs(function: Any) -> Any:
    """Find the function behind a partial, a method, a wrapper or an object: its module resolves the hints."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        elif hasattr(function, "__wrapped__"):
            function = inspect.unwrap(function)
        elif hasattr(function, "__func__"):
            function = function.__func__
        elif hasattr(function, "__globals__") or not hasattr(type(function).__call__, "__globals__"):
            return function
        else:
            function = type(function).__call__


def _nonlocals(function: Any) -> dict[str, Any]:
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    found: dict[str, Any] = {}
    for name, cell in zip(code.co_freevars, cells, strict=True) if code and cells else ():
        # The function around may assign the variable later.
        with contextlib.suppress(ValueError):
            found[name] = cell.cell_contents
    return found
