"""What an endpoint's function says in its type hints about requests and replies."""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import sys
import typing
from typing import TYPE_CHECKING, Any, Final

from tachyon._forms import EMPTY, RAW, Form, Raw, form
from tachyon._shapes import check
from tachyon.errors import BadReplyError, BadRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# The core tells agreements apart by addresses, which are even; these are odd.
_KEYS: Final = itertools.count(1, 2)


class Contract:
    """How an endpoint's requests and replies travel."""

    def __init__(self, function: Callable[..., Any], request: Form, reply: Form, *, is_async: bool) -> None:
        """Bind a function to what it takes and gives."""
        self.name = _name(function)
        self.doc = doc_of(function)
        self.request = request
        self.reply = reply
        self.typed = request.typed or reply.typed
        self.key = next(_KEYS)
        # Whether `serve` gets bytes of its own, and not a view of the request.
        self.copies = request.copies
        # What the core has to ask for the bytes of a request and the value of a reply.
        self.encoder = None if isinstance(request, Raw) else self.encode
        self.decoder = None if isinstance(reply, Raw) else self.decode
        self.serve = self._server(function, is_async=is_async)

    def _server(self, function: Callable[..., Any], *, is_async: bool) -> Callable[[Any], Any]:
        """Make what a dispatcher calls with the request's bytes."""
        if self.copies and isinstance(self.request, Raw) and isinstance(self.reply, Raw):
            return function
        decode: Callable[[Any], Any] = self.request.own if self.copies else self.request.decode
        takes = self.request is not EMPTY
        if is_async:

            async def serve_async(data: Any) -> Any:
                request = decode(data)
                return self._answer(await (function(request) if takes else function()))

            return serve_async

        def serve(data: Any) -> Any:
            request = decode(data)
            return self._answer(function(request) if takes else function())

        return serve

    def _answer(self, value: Any) -> Any:
        try:
            return self.reply.encode(value, "the reply")
        except (TypeError, ValueError, OverflowError) as error:
            message = f"{self.name}: {error}"
            raise BadReplyError(message) from error

    def encode(self, value: Any = None) -> Any:
        """Give the request's bytes."""
        return self.request.encode(value, f"the request of {self.name}")

    def decode(self, data: bytes) -> Any:
        """Give the value of a reply, for good."""
        try:
            return self.reply.own(data)
        except BadRequestError as error:
            message = f"{self.name}: the callee's reply is not what it should be: {error}"
            raise BadReplyError(message) from None

    def describe(self, msg_type: int) -> str:
        """Give the description of the endpoint alone, as JSON."""
        name = self.name if self.name.isidentifier() else f"endpoint_{msg_type}"
        endpoint: dict[str, Any] = {"msg_type": msg_type, "name": name}
        if self.doc:
            endpoint["doc"] = self.doc
        endpoint |= {"request": self.request.describe(), "reply": self.reply.describe()}
        return json.dumps({"schema": 1, "endpoints": [endpoint]})


def _name(function: Callable[..., Any]) -> str:
    name: object = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def doc_of(function: Callable[..., Any]) -> str:
    """Give a function's own docstring, tidied; other callables have but their type's."""
    return (inspect.getdoc(function) or "") if inspect.isroutine(function) else ""


def contract_of(function: Callable[..., Any], is_async: bool) -> Contract | None:  # noqa: FBT001  # called by the core
    """Read a function's hints; None if they ask for nothing but a view of the request and a reply of bytes.

    Raises TypeError for a function that no request can be passed to, and for a hint that cannot travel.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        check(function, _name(function), None)
        return None  # Builtins that do not say.
    check(function, getattr(function, "__qualname__", _name(function)).rpartition("<locals>.")[2], signature)
    name = _name(function)
    # Hints in strings may name classes of the function in which the decorator stands.
    around = sys._getframe(1).f_locals  # pyright: ignore[reportPrivateUsage]
    parameters = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
    ]
    request: Form = RAW
    if not parameters:
        request = EMPTY
    elif parameters[0].annotation is not inspect.Parameter.empty:
        own = parameters[0].name
        request = form(_resolved(function, own, parameters[0].annotation, around), f"parameter `{own}` of {name}")
    reply: Form = RAW
    if signature.return_annotation is not inspect.Signature.empty:
        reply = form(_resolved(function, "return", signature.return_annotation, around), f"the reply of {name}")
    if request is RAW and isinstance(reply, Raw):
        return None
    return Contract(function, request, reply, is_async=is_async)


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
    """Find the function, in whose module its hints are to be read, of a partial, a method, a wrapper or an object."""
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
    return dict(zip(code.co_freevars, (cell.cell_contents for cell in cells), strict=True)) if code and cells else {}
