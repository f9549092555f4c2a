"""Every exception the package raises.

Each class derives from `TachyonError` and from the builtin exception a caller would reach for without reading this
page: a deadline that passes is a `TimeoutError`, a peer that is gone is a `ConnectionError`, a bad argument is a
`ValueError`. Catch the builtin, the specific class, or `TachyonError` for all of them.
"""

from __future__ import annotations

import enum
import errno

__all__ = [
    "AddressInUseError",
    "BadReplyError",
    "BadRequestError",
    "BusClosedError",
    "BusyError",
    "DuplicateError",
    "ErrorKind",
    "ExtensionError",
    "HandlerError",
    "HandlersLeftError",
    "HandshakeError",
    "InvalidArgumentError",
    "LayoutMismatchError",
    "NoCallError",
    "NoHandlerError",
    "NoListenerError",
    "NotASocketError",
    "OnePeerError",
    "PeerClosedError",
    "PeerDeadError",
    "ReleasedError",
    "RpcError",
    "ServerBusyError",
    "SystemCallError",
    "TachyonError",
    "TimedOutError",
    "TooLargeError",
    "VersionMismatchError",
    "ViewError",
    "WorkerLostError",
    "WrongDirectionError",
    "WrongKindError",
]


class TachyonError(Exception):
    """Base of every error raised by this package.

    `safe_to_retry` is False after a call that the callee may have begun: it may run twice if it is made again.
    """

    safe_to_retry: bool = True


class PeerDeadError(TachyonError, ConnectionError):
    """The peer died without closing, or wrote something impossible into the shared memory.

    Messages it committed before it died have been delivered. The bus is of no further use: close it.
    """


class PeerClosedError(TachyonError, ConnectionError):
    """The peer closed its side in good order; everything it sent has been delivered."""


class BusClosedError(TachyonError, ValueError):
    """The bus was used after it was closed on this side, or in a child process that inherited it by a fork."""


class TimedOutError(TachyonError, TimeoutError):
    """The timeout of the call passed. The bus is intact."""


class TooLargeError(TachyonError, ValueError):
    """A message that can never fit the ring; listen with a larger capacity. The bus is intact."""


class InvalidArgumentError(TachyonError, ValueError):
    """An argument out of its range: a capacity, a size, a correlation id, a timeout, a node."""


class AddressInUseError(TachyonError, OSError):
    """The socket path is held by a live listener."""

    errno: int | None = errno.EADDRINUSE


class NotASocketError(TachyonError, FileExistsError):
    """The socket path names something that is not a socket. It is never unlinked."""

    errno: int | None = errno.EEXIST


class HandshakeError(TachyonError, ConnectionError):
    """The two sides could not agree: role, permission, or a peer that does not speak the protocol."""


class NoListenerError(HandshakeError, ConnectionRefusedError):
    """Nobody was listening at the path when the timeout passed."""

    errno: int | None = errno.ECONNREFUSED


class OnePeerError(HandshakeError):
    """A probe found a listener for one peer, which keeps its place for another.

    `description` is what it offers as JSON, if it was given its dispatcher.
    """

    description: str | None

    def __init__(self, message: str, description: str | None = None) -> None:
        """Describe the listener."""
        super().__init__(message, description)
        self.description = description

    def __str__(self) -> str:
        """Say who is there."""
        return str(self.args[0])


class ServerBusyError(HandshakeError):
    """The server has as many callers as it takes; try again later, or raise its `max_callers`."""


class WrongKindError(HandshakeError):
    """One side opened a one-way bus, the other an RPC bus."""


class VersionMismatchError(HandshakeError):
    """The two sides speak different versions of the protocol."""


class SystemCallError(TachyonError, OSError):
    """The operating system refused something the bus needs: memory, descriptors, a directory."""


class BusyError(TachyonError, RuntimeError):
    """The direction is in use: by another thread, by an event loop, or by a guard that is still open."""


class WorkerLostError(TachyonError, RuntimeError):
    """A thread that served ended by a panic. The server was stopped, and its callers were told."""


class HandlersLeftError(TachyonError, RuntimeError):
    """A server stopped, and `count` handlers went on for longer than its `stop_timeout`.

    Coroutine functions that do not let themselves be cancelled are left behind; a plain handler keeps the serving call
    until it returns. Everything else ended in good order.
    """

    count: int

    def __init__(self, message: str, count: int = 0) -> None:
        """Describe the end of a server."""
        super().__init__(message, count)
        self.count = count

    def __str__(self) -> str:
        """Say what was left."""
        return str(self.args[0])


class NoCallError(TachyonError, LookupError):
    """`current_call` was asked outside of a handler."""


class WrongDirectionError(TachyonError, RuntimeError):
    """The bus already works in the other direction, for instance a send on a bus that receives."""


class ViewError(TachyonError, BufferError):
    """A memoryview or an array still looks into a slot whose guard has ended.

    The slot stays occupied until the last such view is gone, and is then given back by itself.
    """


class ReleasedError(ViewError, RuntimeError):
    """A guard or a message was used after its slot had been given back."""


class DuplicateError(TachyonError, ValueError):
    """A msg_type was registered twice on one dispatcher."""


class ExtensionError(TachyonError, ImportError):
    """An extension in Rust whose endpoints this package cannot run, because both were built with different versions."""


class BadRequestError(TachyonError, ValueError):
    """Bytes that are not the value they should be: too few, too many, or an enum or a bool without such a value.

    A request like that never reaches its handler. A handler that raises it answers with `ErrorKind.BAD_REQUEST`, and
    says by it that it has done nothing: to its caller the call is safe to retry.
    """


class BadReplyError(TachyonError, TypeError):
    """A reply that is not what its endpoint gives."""

    safe_to_retry = False


class LayoutMismatchError(TachyonError, TypeError):
    """The two sides of a typed endpoint do not mean the same; nothing was called."""


class ErrorKind(enum.IntEnum):
    """What went wrong with a request, as the callee reports it."""

    UNSPECIFIED = 0
    NO_HANDLER = 1
    HANDLER_FAILED = 2
    BAD_REPLY = 3
    REPLY_TOO_LARGE = 4
    BAD_REQUEST = 5
    STOPPING = 6
    DEADLINE_PASSED = 7
    CANCELLED = 8


_MEANING = {
    ErrorKind.UNSPECIFIED: "the callee reported an error",
    ErrorKind.NO_HANDLER: "the callee has no handler for it",
    ErrorKind.HANDLER_FAILED: "its handler failed",
    ErrorKind.BAD_REPLY: "its handler returned something that cannot be sent",
    ErrorKind.REPLY_TOO_LARGE: "its reply does not fit the reverse ring",
    ErrorKind.BAD_REQUEST: "the request does not decode to what the handler takes",
    ErrorKind.STOPPING: "the server is stopping and has not begun it",
    ErrorKind.DEADLINE_PASSED: "its timeout had passed before its turn came",
    ErrorKind.CANCELLED: "it had begun and was cancelled",
}


_NOT_BEGUN = frozenset({ErrorKind.NO_HANDLER, ErrorKind.BAD_REQUEST, ErrorKind.STOPPING})


class RpcError(TachyonError, RuntimeError):
    """A request was answered with an error reply.

    `kind` says what went wrong, `msg_type` is the request's, `text` is what the callee says of it (often nothing),
    `payload` the reply as it came, and `name` that of the error, if the callee named it. A text that ends in an
    ellipsis was cut.
    """

    kind: ErrorKind
    msg_type: int
    text: str
    payload: bytes
    name: str
    safe_to_retry: bool

    def __init__(self, kind: int, msg_type: int, text: str = "", payload: bytes = b"", name: str = "") -> None:
        """Describe the failure of one request."""
        super().__init__(kind, msg_type, text, payload, name)
        self.name = name
        known = kind if kind in _MEANING else ErrorKind.UNSPECIFIED
        self.kind = ErrorKind(known)
        self.safe_to_retry = known in _NOT_BEGUN
        self.msg_type = msg_type
        self.text = text
        self.payload = payload

    def __str__(self) -> str:
        """Say which request failed, and how."""
        meaning = f"request with msg_type {self.msg_type} failed: {_MEANING[self.kind]}"
        return ": ".join(part for part in (meaning, self.name, self.text) if part)


class NoHandlerError(RpcError, KeyError):
    """The dispatcher that got the request has no handler for its msg_type."""


class HandlerError(RpcError):
    """A handler failed.

    Where it was served, its exception, if it raised one, is the `__cause__`. Where it was called, this is a declared
    error of another class than the caller knows: `name` and `text` are the callee's.
    """
