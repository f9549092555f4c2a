"""The check that a function can take a request."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


def check(function: Callable[..., Any], name: str, signature: inspect.Signature | None) -> None:
    """Raise TypeError with advice unless the function can serve requests.

    A builtin without a signature passes.
    """
    if inspect.isclass(function):
        if function in {bytes, bytearray}:
            return  # As a function, each gives the request back.
        _refuse(f"{name} is a class, and an endpoint is a function", "decorate a function that makes one")
    if signature is None:
        return
    # A partial binds its keywords.
    given: dict[str, Any] = function.keywords if isinstance(function, functools.partial) else {}
    for at, parameter in enumerate(signature.parameters.values()):
        own = parameter.name
        if at == 0 and own in {"self", "cls"} and parameter.annotation is parameter.empty:
            _refuse(
                f"{name} is a method: its `{own}` would be the request",
                f"make the endpoint of the bound method, tachyon_rpc(msg_type)(service.{_last(name)})",
            )
        if parameter.kind is parameter.VAR_POSITIONAL:
            _refuse(
                f"{name} takes `*{own}`, and a request has a fixed number of arguments",
                "name each parameter; a wrapper shows those of its function with functools.wraps",
            )
        if parameter.kind is parameter.VAR_KEYWORD:
            _refuse(
                f"{name} takes `**{own}`, and a request has a fixed number of arguments",
                "name each parameter; a wrapper shows those of its function with functools.wraps",
            )
        if parameter.kind is parameter.KEYWORD_ONLY and own not in given:
            _refuse(
                f"{name} takes `{own}` by keyword only, and a request gives arguments by position",
                f"put `{own}` before the `*`, or bind a value of it with functools.partial",
            )


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _refuse(what: str, advice: str) -> NoReturn:
    message = f"{what}; {advice}"
    raise TypeError(message)
