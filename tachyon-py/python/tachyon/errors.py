"""Every exception the package raises.

Each class derives from `TachyonError` and from the builtin exception of its kind: a timeout is a `TimeoutError`, a peer
that is gone is a `ConnectionError`, a bad argument is a `ValueError`. Catch the builtin, the specific class, or
`TachyonError` for all of them.
"""

from __future__ import annotations

import enum
import errno
from typing import Any, ClassVar, NamedTuple

from tachyon._tachyon import error_kinds, kind_of_grpc_code

__all__ = [
    "AbortedError",
    "AddressInUseError",
    "AlreadyExistsError",
    "BadReplyError",
    "BadRequestError",
    "BusClosedError",
    "BusyError",
    "DuplicateError",
    "ErrorKind",
    "ExtensionError",
    "FailedPreconditionError",
    "HandlerError",
    "HandlersLeftError",
    "HandshakeError",
    "InvalidArgumentError",
    "LayoutMismatchError",
    "NoCallError",
    "NoHandlerError",
    "NoListenerError",
    "NotASocketError",
    "NotFoundError",
    "OnePeerError",
    "PeerClosedError",
    "PeerDeadError",
    "PermissionDeniedError",
    "RefusedArgumentError",
    "ReleasedError",
    "ResourceExhaustedError",
    "RpcError",
    "ServerBusyError",
    "SystemCallError",
    "TachyonError",
    "TimedOutError",
    "TooLargeError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnreachableError",
    "VersionMismatchError",
    "ViewError",
    "WorkerLostError",
    "WrongDirectionError",
    "WrongKindError",
]


_NO_REQUEST = 0xFFFF
"""The message type of an error without a request."""


class _Facts(NamedTuple):
    """The facts of a kind."""

    number: int
    word: str
    sentence: str
    grpc_code: int
    has_begun: bool


_FACTS = {facts[0]: _Facts(*facts) for facts in error_kinds()}


class ErrorKind(enum.IntEnum):
    """The kind of a request's failure, as the callee reports it.

    A handler reports the kinds from `INVALID_ARGUMENT` to `UNAUTHENTICATED`: it raises the class of the kind, such as
    `NotFoundError`, or an `EndpointError` of the kind. They mean the same as the status codes of gRPC of their names.
    """

    UNSPECIFIED = 0
    NO_HANDLER = 1
    HANDLER_FAILED = 2
    BAD_REPLY = 3
    REPLY_TOO_LARGE = 4
    BAD_REQUEST = 5
    STOPPING = 6
    DEADLINE_PASSED = 7
    CANCELLED = 8
    INVALID_ARGUMENT = 9
    NOT_FOUND = 10
    ALREADY_EXISTS = 11
    PERMISSION_DENIED = 12
    RESOURCE_EXHAUSTED = 13
    FAILED_PRECONDITION = 14
    ABORTED = 15
    UNAVAILABLE = 16
    UNAUTHENTICATED = 17
    UNREACHABLE = 18

    @property
    def word(self) -> str:
        """The name in one word, as in Rust and in descriptions: `NotFound`."""
        return _FACTS[self].word

    @property
    def grpc_code(self) -> int:
        """The number of the status code of gRPC that means the same. Several kinds share a code."""
        return _FACTS[self].grpc_code

    @classmethod
    def from_grpc_code(cls, code: int) -> ErrorKind | None:
        """Return the kind for a status code of gRPC: None for 0, which is no error."""
        kind = kind_of_grpc_code(code)
        return None if kind is None else cls(kind)


class TachyonError(Exception):
    """Base of every error raised by this package.

    `safe_to_retry` is False after a call that the callee may have begun: a repeated call may run twice. `reply_kind` is
    the kind of the error reply when a handler raises an exception of the class.
    """

    safe_to_retry: bool = True
    reply_kind: ClassVar[ErrorKind] = ErrorKind.HANDLER_FAILED


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


class StreamCancelledError(TachyonError, ConnectionAbortedError):
    """The stream of this handler is over, and not all items of its caller have arrived.

    The caller cancelled, closed or died, the time of the stream has passed, or this side stops. The handler gives up:
    its reply reaches no caller.
    """

    safe_to_retry = False
    reply_kind = ErrorKind.CANCELLED
    errno: int | None = errno.ECONNABORTED


class BadRequestError(TachyonError, ValueError):
    """The bytes do not decode: too few, too many, or no valid value of an enum or a bool.

    Such a request never reaches its handler. A handler that raises this answers with `ErrorKind.BAD_REQUEST`, and
    promises that the call had no effect: for the caller it is safe to retry.
    """

    reply_kind = ErrorKind.BAD_REQUEST


class BadReplyError(TachyonError, TypeError):
    """The reply is not of the type that its endpoint declares."""

    safe_to_retry = False
    reply_kind = ErrorKind.BAD_REPLY


class LayoutMismatchError(TachyonError, TypeError):
    """The types of a typed endpoint differ between the two sides; no handler was called."""


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
        # Past `OSError`, which would take two of the arguments for a number and its text.
        BaseException.__init__(self, kind, msg_type, text, payload, name)
        self.kind = ErrorKind(kind if kind in _FACTS else ErrorKind.UNSPECIFIED)
        self.safe_to_retry = not _FACTS[self.kind].has_begun
        self.msg_type = msg_type
        self.text = text
        self.payload = payload
        self.name = name

    def __str__(self) -> str:
        """Give the request's msg_type, the kind of failure, the name and the text."""
        meaning = _FACTS[self.kind].sentence
        if self.msg_type == _NO_REQUEST:
            return self.text or meaning
        return ": ".join(
            part for part in (f"request with msg_type {self.msg_type} failed: {meaning}", self.name, self.text) if part
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the class, the parts and the attributes."""
        parts = (self.kind, self.msg_type, self.text, self.payload, self.name)
        return _made, (type(self), *parts), self.__dict__


class NoHandlerError(RpcError, KeyError):
    """The dispatcher has no handler for the msg_type of the request."""


class UnreachableError(RpcError, ConnectionError):
    """A proxy has no connection to the callee behind it, and has not sent the request on.

    The connection to the proxy stays usable.
    """


class HandlerError(RpcError):
    """A handler failed, or answered with an error.

    On the serving side the handler's exception, if any, is the `__cause__`. On the calling side `text` is the callee's.
    `name` is the name of a declared error whose class the caller does not know.
    """


class _AnswerError(HandlerError):
    """An error that a handler raises for its caller.

    It arrives as the same class with the same text, in Rust as `CallError::Remote` with the kind. It is an answer and
    no failure: the callee reports nothing. A class that derives from it arrives as the class of the kind.
    """

    def __init__(self, text: str = "") -> None:
        """Make an error with a text for the caller."""
        super().__init__(self.reply_kind, _NO_REQUEST, text)


class RefusedArgumentError(_AnswerError, ValueError):
    """The handler refuses the value of an argument, in any state of the callee."""

    reply_kind = ErrorKind.INVALID_ARGUMENT


class NotFoundError(_AnswerError, LookupError):
    """The thing that the request names does not exist."""

    reply_kind = ErrorKind.NOT_FOUND


class AlreadyExistsError(_AnswerError, ValueError):
    """The thing that the request creates exists already."""

    reply_kind = ErrorKind.ALREADY_EXISTS


class PermissionDeniedError(_AnswerError, PermissionError):
    """The caller is known and may not do this."""

    reply_kind = ErrorKind.PERMISSION_DENIED
    errno: int | None = errno.EACCES


class ResourceExhaustedError(_AnswerError):
    """A quota or a resource of the callee is used up."""

    reply_kind = ErrorKind.RESOURCE_EXHAUSTED


class FailedPreconditionError(_AnswerError):
    """The state of the callee does not allow this; the same request fails until that state is changed."""

    reply_kind = ErrorKind.FAILED_PRECONDITION


class AbortedError(_AnswerError):
    """A conflict with another request aborted this one; the whole transaction may be repeated."""

    reply_kind = ErrorKind.ABORTED


class UnavailableError(_AnswerError, ConnectionError):
    """The callee cannot do this now; try again later. The connection stays usable."""

    reply_kind = ErrorKind.UNAVAILABLE


class UnauthenticatedError(_AnswerError, PermissionError):
    """The request has no valid credentials."""

    reply_kind = ErrorKind.UNAUTHENTICATED
    errno: int | None = errno.EACCES


_ANSWERS: tuple[type[_AnswerError], ...] = (
    RefusedArgumentError,
    NotFoundError,
    AlreadyExistsError,
    PermissionDeniedError,
    ResourceExhaustedError,
    FailedPreconditionError,
    AbortedError,
    UnavailableError,
    UnauthenticatedError,
)

_CLASSES: dict[int, type[RpcError]] = {
    ErrorKind.NO_HANDLER: NoHandlerError,
    ErrorKind.HANDLER_FAILED: HandlerError,
    ErrorKind.UNREACHABLE: UnreachableError,
    **{answer.reply_kind: answer for answer in _ANSWERS},
}
"""The class of the exception for an error reply, by its kind. All other kinds arrive as `RpcError`."""


def _made(cls: type[RpcError], *parts: Any) -> RpcError:  # noqa: ANN401 - those of `RpcError`
    # Without `__init__`, whose parameters are those of the class; `OSError` has memory of its own to make.
    error = (OSError if issubclass(cls, OSError) else Exception).__new__(cls)
    RpcError.__init__(error, *parts)
    return error


def received(kind: int, msg_type: int, text: str, payload: bytes, name: str) -> RpcError:
    """Make the exception for an error reply; called by the core."""
    return _made(_CLASSES.get(kind, RpcError), kind, msg_type, text, payload, name)
