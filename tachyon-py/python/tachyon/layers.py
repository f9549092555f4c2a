"""Layers: objects that see each call, before it and after it, and may refuse it.

`RpcDispatcher.layer` takes a `Layer`, which sees the requests of callers. `RpcBus.layer` and `Pool.layer` take a
`CallerLayer`, which sees the calls of this side. Both run on the thread that serves or calls.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from tachyon._tachyon import Metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tachyon._tachyon import CurrentCall
    from tachyon.errors import ErrorKind

__all__ = [
    "AfterCall",
    "AfterOutgoing",
    "BeforeCall",
    "BeforeOutgoing",
    "CallFailed",
    "CallOutcome",
    "CallerGone",
    "CallerLayer",
    "Failed",
    "GivenUp",
    "Layer",
    "Outcome",
    "OutgoingCall",
    "Replied",
]


@dataclass(frozen=True, slots=True)
class Replied:
    """The call ended with a reply."""

    size: int
    """Bytes of the reply."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The caller got an error reply."""

    kind: ErrorKind
    """The kind of the error."""


@dataclass(frozen=True, slots=True)
class CallerGone:
    """The caller closed or died before the answer."""


@dataclass(frozen=True, slots=True)
class CallFailed:
    """The call raised an exception."""

    error: Exception
    """The exception. Do not raise it again: the caller of the endpoint gets it."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The call was given up: by `forget`, a cancelled task, a close, or an interrupt."""


Outcome: TypeAlias = Replied | Failed | CallerGone
"""How a request ended, as a `Layer` sees it."""

CallOutcome: TypeAlias = Replied | CallFailed | GivenUp
"""How a call ended, as a `CallerLayer` sees it."""


class Layer:
    """Sees every request of a dispatcher. A subclass, or any other object, has one of the methods or both.

    ::

        class Authenticated(tachyon.layers.Layer):
            def before(self, call: tachyon.CurrentCall, /) -> None:
                if call.metadata.get("authorization") != "secret":
                    raise tachyon.errors.UnauthenticatedError("send the service's token as `authorization`")

        dispatcher.layer(Authenticated())
    """

    def before(self, call: CurrentCall, /) -> None:
        """Run before the handler, in the order of the layers. An exception refuses the call.

        Then no handler runs. The caller gets an error reply, as for an exception of a handler: `UnauthenticatedError`
        is the kind UNAUTHENTICATED, and an exception that is not this package's is HANDLER_FAILED. The layers behind
        this one do not see the call, and only those before this one see its end.
        """

    def after(self, call: CurrentCall, outcome: Outcome, seconds: float, /) -> None:
        """Run after the answer, in reverse order. `seconds` is the time from the last `before` to the answer.

        An exception is reported on the logger `tachyon`, and has no other effect.
        """


class CallerLayer:
    """Sees every call of a bus or of a pool. A subclass, or any other object, has one of the methods or both.

    ::

        class Token(tachyon.layers.CallerLayer):
            def before(self, call: tachyon.layers.OutgoingCall, /) -> None:
                call.add_metadata("authorization", "secret")

        bus.layer(Token())
    """

    def before(self, call: OutgoingCall, /) -> None:
        """Run before the request is sent, in the order of the layers. An exception refuses the call, which raises it.

        Then nothing is sent. The layers behind this one do not see the call, and only those before this one see its
        end.
        """

    def after(self, call: OutgoingCall, outcome: CallOutcome, seconds: float, /) -> None:
        """Run when the caller takes the outcome, in reverse order. `seconds` is the time since the last `before`.

        An exception is reported on the logger `tachyon`, and has no other effect.
        """


class BeforeCall(Protocol):
    """An object with the method `before` of a `Layer`."""

    def before(self, call: CurrentCall, /) -> None:
        """Run before the handler."""


class AfterCall(Protocol):
    """An object with the method `after` of a `Layer`."""

    def after(self, call: CurrentCall, outcome: Outcome, seconds: float, /) -> None:
        """Run after the answer."""


class BeforeOutgoing(Protocol):
    """An object with the method `before` of a `CallerLayer`."""

    def before(self, call: OutgoingCall, /) -> None:
        """Run before the request is sent."""


class AfterOutgoing(Protocol):
    """An object with the method `after` of a `CallerLayer`."""

    def after(self, call: OutgoingCall, outcome: CallOutcome, seconds: float, /) -> None:
        """Run when the caller takes the outcome."""


class OutgoingCall:
    """A call without its arguments, as a `CallerLayer` sees it."""

    __slots__ = ("_deadline", "_metadata", "msg_type", "name", "request_size")

    def __init__(self, msg_type: int, name: str, size: int, timeout: float | None, metadata: Metadata | None) -> None:
        """Describe a call that begins now."""
        self.msg_type: int = msg_type
        """The endpoint's message type."""
        self.name: str = name
        """The endpoint's name on this side; empty for a call by number."""
        self.request_size: int = size
        """Bytes of the request, without the metadata."""
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._metadata = metadata

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata that travels with the request, as a read-only mapping."""
        return MappingProxyType({}) if self._metadata is None else self._metadata.mapping()

    def add_metadata(self, key: str, value: str) -> None:
        """Add an entry to the metadata, or replace the one with this key. Raises `InvalidArgumentError`."""
        self._metadata = Metadata(key, value, self._metadata)

    @property
    def remaining(self) -> float | None:
        """The seconds that the call may still take, 0.0 after its deadline; None without a timeout."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def __repr__(self) -> str:
        """Show the endpoint."""
        return f"<tachyon.layers.OutgoingCall {self.name} msg_type={self.msg_type}>"


class ShownCall:
    """A call that the layers of a bus have seen, and whose outcome they have not seen; the extension makes it."""

    def __init__(  # noqa: PLR0913, PLR0917  # called by the extension
        self,
        layers: tuple[Any, ...],
        msg_type: int,
        name: str,
        size: int,
        timeout: float | None,
        metadata: Metadata | None,
    ) -> None:
        """Show a call, or raise the exception of the layer that refuses it."""
        self._layers = layers
        self._call = OutgoingCall(msg_type, name, size, timeout, metadata)
        self._began = time.monotonic()
        for at, layer in enumerate(layers):
            try:
                run_before(layer, self._call)
            except BaseException as error:
                self._layers = layers[:at]
                self.failed(error)
                raise
        self._began = time.monotonic()

    @property
    def sent(self) -> Metadata | None:
        """The metadata to send."""
        return self._call._metadata  # pyright: ignore[reportPrivateUsage]

    def replied(self, size: int) -> None:
        """Show that a reply came."""
        self._show(Replied(size))

    def failed(self, error: BaseException) -> None:
        """Show that the call raised."""
        self._show(CallFailed(error) if isinstance(error, Exception) else GivenUp())

    def given_up(self) -> None:
        """Show that the call was given up."""
        self._show(GivenUp())

    def _show(self, outcome: CallOutcome) -> None:
        seconds = time.monotonic() - self._began
        # A reply that does not decode counts as a reply: the exception comes too late.
        layers, self._layers = self._layers, ()
        with contextlib.ExitStack() as stack:
            # In reverse order, and also after an interrupt in one of them.
            for layer in layers:
                stack.callback(run_after, layer, self._call, outcome, seconds)


def run_before(layer: Any, call: object) -> None:
    """Run a layer before a call. Its exception refuses the call."""
    before = getattr(layer, "before", None)
    if before is not None and before(call) is not None:
        message = f"{type(layer).__name__}.before returns nothing; it raises an exception to refuse a call"
        raise TypeError(message)


def run_after(layer: Any, call: object, outcome: object, seconds: float) -> None:
    """Run a layer after a call, and report its exception."""
    after = getattr(layer, "after", None)
    if after is None:
        return
    try:
        after(call, outcome, seconds)
    except Exception:
        logging.getLogger("tachyon").exception("the layer %s failed after a call", type(layer).__name__)


def checked(layer: Any) -> Any:
    """Return a layer, or raise TypeError for an object that is none."""
    name = type(layer).__name__
    if isinstance(layer, type):
        message = f"{layer.__name__} is a class; add an object of it: layer({layer.__name__}())"
        raise TypeError(message)
    methods = [method for method in (getattr(layer, "before", None), getattr(layer, "after", None)) if method]
    if not methods or not all(callable(method) for method in methods):
        message = f"a layer has a method `before`, `after` or both, and {name} has none"
        raise TypeError(message)
    if any(inspect.iscoroutinefunction(method) for method in methods):
        message = f"{name} has `async def` methods, and a layer is not awaited; write them as `def`"
        raise TypeError(message)
    return layer


def caller_layers(layers: tuple[Any, ...] | None, layer: Any) -> tuple[Any, ...]:
    """Return the layers of a bus with one more."""
    return (*(layers or ()), checked(layer))
