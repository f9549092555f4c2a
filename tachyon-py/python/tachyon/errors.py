"""Every exception the package raises.

Each class derives from `TachyonError` and from the builtin exception of its kind: a timeout is a `TimeoutError`, a peer
that is gone is a `ConnectionError`, a bad argument is a `ValueError`. Catch the builtin, the specific class, or
`TachyonError` for all of them.
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

    `safe_to_retry` is False after a call that the callee may have begun: a repeated call may run twice.
    """

    safe_to_retry: bool = True


class PeerDeadError(TachyonError, ConnectionError):
    """The peer died without closing, or wrote invalid data into the shared memory.

    Messages that the peer committed before its death have been delivered. Close the bus: it stays unusable.
    """


class PeerClosedError(TachyonError, ConnectionError):
    """The peer closed its side in good order; all its messages have been delivered."""


class BusClosedError(TachyonError, ValueError):
    """The bus was closed on this side, or belongs to the parent of this forked process."""


class TimedOutError(TachyonError, TimeoutError):
    """The timeout has passed. The bus stays usable."""


class TooLargeError(TachyonError, ValueError):
    """The message can never fit the ring; listen with a larger capacity. The bus stays usable."""


class InvalidArgumentError(TachyonError, ValueError):
    """An argument is out of its range: a capacity, a size, a correlation id, a timeout, a node."""


class AddressInUseError(TachyonError, OSError):
    """A live listener holds the socket path."""

    errno: int | None = errno.EADDRINUSE


class NotASocketError(TachyonError, FileExistsError):
    """The file at the socket path is not a socket. It is never unlinked."""

    errno: int | None = errno.EEXIST


class HandshakeError(TachyonError, ConnectionError):
    """The handshake failed: role, permission, or a peer that does not speak the protocol."""


class NoListenerError(HandshakeError, ConnectionRefusedError):
    """No process listened at the path until the timeout."""

    errno: int | None = errno.ECONNREFUSED


class OnePeerError(HandshakeError):
    """A probe found a listener for one peer, and left the peer's place free.

    `description` is the description of its endpoints in JSON, if the listener has its dispatcher.
    """

    description: str | None

    def __init__(self, message: str, description: str | None = None) -> None:
        """Describe the listener."""
        super().__init__(message, description)
        self.description = description

    def __str__(self) -> str:
        """Give the message."""
        return str(self.args[0])


class ServerBusyError(HandshakeError):
    """The server has `max_callers` callers; try again later, or raise its `max_callers`."""


class WrongKindError(HandshakeError):
    """One side opened a one-way bus, the other an RPC bus."""


class VersionMismatchError(HandshakeError):
    """The two sides speak different versions of the protocol."""


class SystemCallError(TachyonError, OSError):
    """The operating system refused a resource: memory, descriptors, a directory."""


class BusyError(TachyonError, RuntimeError):
    """The direction is in use: by another thread, by an event loop, or by a guard that is still open."""


class WorkerLostError(TachyonError, RuntimeError):
    """A serving thread ended by a panic. The server was stopped, and its callers got error replies."""


class HandlersLeftError(TachyonError, RuntimeError):
    """A server stopped, and `count` handlers ran for longer than its `stop_timeout`.

    Coroutine functions that ignore their cancellation are left behind; a plain handler blocks the serving call until it
    returns. All other calls ended in good order.
    """

    count: int

    def __init__(self, message: str, count: int = 0) -> None:
        """Describe the end of a server."""
        super().__init__(message, count)
        self.count = count

    def __str__(self) -> str:
        """Give the message."""
        return str(self.args[0])


class NoCallError(TachyonError, LookupError):
    """`current_call` was called outside of a handler."""


class WrongDirectionError(TachyonError, RuntimeError):
    """The bus already works in the other direction, for instance a send on a bus that receives."""


class ViewError(TachyonError, BufferError):
    """A memoryview or an array still looks into a slot whose guard has ended.

    The slot stays in use until the last such view is gone.
    """


class ReleasedError(ViewError, RuntimeError):
    """A guard or a message was used after its slot had been given back."""


class DuplicateError(TachyonError, ValueError):
    """A msg_type was registered twice on one dispatcher."""


class ExtensionError(TachyonError, ImportError):
    """The extension in Rust was built with another version than this package, which cannot run its endpoints."""


class BadRequestError(TachyonError, ValueError):
    """The bytes do not decode: too few, too many, or no valid value of an enum or a bool.

    Such a request never reaches its handler. A handler that raises this answers with `ErrorKind.BAD_REQUEST`, and
    promises that the call had no effect: for the caller it is safe to retry.
    """


class BadReplyError(TachyonError, TypeError):
    """The reply is not of the type that its endpoint declares."""

    safe_to_retry = False


class LayoutMismatchError(TachyonError, TypeError):
    """The types of a typed endpoint differ between the two sides; no handler was called."""


class ErrorKind(enum.IntEnum):
    """The kind of a request's failure, as the callee reports it."""

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
    ErrorKind.NO_HANDLER: "the callee has no endpoint for it",
    ErrorKind.HANDLER_FAILED: "its handler failed",
    ErrorKind.BAD_REPLY: "its handler returned a value that cannot be sent",
    ErrorKind.REPLY_TOO_LARGE: "its reply does not fit the reverse ring",
    ErrorKind.BAD_REQUEST: "the request does not match its endpoint",
    ErrorKind.STOPPING: "the server is stopping and has not begun it",
    ErrorKind.DEADLINE_PASSED: "its deadline passed before its handler was done",
    ErrorKind.CANCELLED: "it had begun and was cancelled",
}


_NOT_BEGUN = frozenset({ErrorKind.NO_HANDLER, ErrorKind.BAD_REQUEST, ErrorKind.STOPPING})


class RpcError(TachyonError, RuntimeError):
    """The callee answered a request with an error reply.

    `kind` is the kind of failure, `msg_type` is the request's, `text` is the callee's description (often empty),
    `payload` the bytes of the error reply, and `name` the name of a declared error. A text that ends in an ellipsis was
    cut.
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
        """Give the request's msg_type, the kind of failure, the name and the text."""
        meaning = f"request with msg_type {self.msg_type} failed: {_MEANING[self.kind]}"
        return ": ".join(part for part in (meaning, self.name, self.text) if part)


class NoHandlerError(RpcError, KeyError):
    """The dispatcher has no handler for the msg_type of the request."""


class HandlerError(RpcError):
    """A handler failed.

    On the serving side the handler's exception, if any, is the `__cause__`. On the calling side this is a declared
    error whose class the caller does not know: `name` and `text` are the callee's.
    """
