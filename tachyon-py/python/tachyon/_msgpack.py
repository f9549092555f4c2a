"""Endpoints of the codec msgpack: msgspec encodes and decodes by the hints of the function.

A request is a map from the names of the arguments to their values, a reply is the value.
"""

from __future__ import annotations

import copy
import functools
import inspect
import json
import types
import typing
from typing import TYPE_CHECKING, Any

from tachyon._struct import Struct
from tachyon.errors import BadRequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tachyon._forms import Codec


def _msgspec() -> Any:
    try:
        import msgspec  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        message = f'codec="msgpack" needs msgspec, which cannot be imported ({error}): pip install tachyon-ipc[msgpack]'
        raise ImportError(message) from error
    return msgspec


def arguments(name: str, parameters: list[tuple[str, Any, inspect.Parameter]]) -> Codec:
    """Make the codec of a request. Each parameter has its name on the wire, its hint, and itself."""
    msgspec = _msgspec()
    fields: list[tuple[str, Any, Any]] = []
    for at, (wire, hint, own) in enumerate(parameters):
        _check(msgspec, hint, f"parameter `{own.name}` of {name}")
        settings: dict[str, Any] = {"name": wire}
        if own.default is not inspect.Parameter.empty:
            settings["default_factory"] = functools.partial(copy.deepcopy, own.default)
        elif _is_optional(hint):
            settings["default"] = None
        fields.append((f"argument{at}", hint, msgspec.field(**settings)))
    struct: Any = msgspec.defstruct("Arguments", fields, kw_only=True)
    names = [wire for wire, _, _ in parameters]
    encode = msgspec.msgpack.Encoder().encode
    decode = _decoder(msgspec, struct, f"the arguments of {name}")

    def write(values: tuple[Any, ...]) -> bytes:
        return encode(dict(zip(names, values, strict=True)))  # type: ignore[no-any-return]

    def read(message: bytes) -> tuple[Any, ...]:
        found = decode(message)
        return tuple(getattr(found, field) for field, _, _ in fields)

    return write, read


def value(hint: Any, place: str, what: str) -> Codec:
    """Make the codec of one value; `place` is that of its hint, `what` names the value in errors."""
    msgspec = _msgspec()
    _check(msgspec, hint, place)
    return msgspec.msgpack.Encoder().encode, _decoder(msgspec, hint, what)


def untyped() -> Codec:
    """Make the codec of values without declared types, as the json module has them. Bytes are base64."""
    msgspec = _msgspec()

    def read(message: bytes) -> Any:
        return json.loads(msgspec.json.encode(msgspec.msgpack.decode(message)))

    return msgspec.msgpack.Encoder().encode, read


def _decoder(msgspec: Any, hint: Any, place: str) -> Callable[[bytes], Any]:
    decode = msgspec.msgpack.Decoder(hint).decode

    def read(message: bytes) -> Any:
        try:
            return decode(message)
        except (msgspec.DecodeError, RecursionError) as error:
            message_text = f"{place}: {error}"
            raise BadRequestError(message_text) from None

    return read


def _is_optional(hint: Any) -> bool:
    return typing.get_origin(hint) in {typing.Union, types.UnionType} and types.NoneType in typing.get_args(hint)


def _check(msgspec: Any, hint: Any, place: str) -> None:
    """Raise TypeError for a hint that msgspec does not decode, naming the place of the hint."""
    for each in _parts(hint):
        if isinstance(each, type) and issubclass(each, Struct):
            message = f"{place}: {each.__name__} is a tachyon.Struct; in msgpack travel msgspec.Struct and dataclasses"
            raise TypeError(message)
    try:
        msgspec.msgpack.Decoder(hint)
    except (TypeError, RuntimeError) as error:
        message = f"{place}: {error}"
        raise TypeError(message) from None


def _parts(hint: Any) -> list[Any]:
    return [hint, *(part for each in typing.get_args(hint) for part in _parts(each))]
