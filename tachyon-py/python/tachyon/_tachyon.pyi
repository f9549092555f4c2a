"""Types of the native module; everything here is re-exported by `tachyon`."""

import os
from collections.abc import Callable, Iterator, Sequence
from types import GenericAlias, TracebackType
from typing import Any, Final, Generic, Literal, Protocol, Self, TypeAlias, final, overload, type_check_only

from typing_extensions import Buffer, CapsuleType, TypeVar, disjoint_base

from tachyon._array import Array
from tachyon._description import Description
from tachyon.errors import ErrorKind, RpcError

__all__ = [
    "MSG_TYPE_ERROR",
    "Bus",
    "Memory",
    "Message",
    "RpcBus",
    "RpcDispatcher",
    "RpcEndpoint",
    "RpcRxGuard",
    "RpcTxGuard",
    "RxBatchGuard",
    "RxGuard",
    "RxMsgView",
    "TxGuard",
    "__version__",
    "_decode_error",
    "codegen_rust",
    "make_type_id",
    "msg_type",
    "route_id",
    "tachyon_rpc",
]

_T = TypeVar("_T")
_Path: TypeAlias = str | os.PathLike[str]
_Bytes: TypeAlias = bytes | bytearray | memoryview
_RequestT_contra = TypeVar("_RequestT_contra", default=Buffer, contravariant=True)
_ReplyT_co = TypeVar("_ReplyT_co", default=bytes, covariant=True)
_TakenT = TypeVar("_TakenT")
_GivenT = TypeVar("_GivenT")

__version__: Final[str]
MSG_TYPE_ERROR: Final = 0xFFFF
"""The msg_type of error replies."""

def make_type_id(route: int, msg_type: int) -> int:
    """Join a route (upper 16 bits) and a message type (lower 16 bits); routes from 1 up are reserved for RPC."""

def route_id(type_id: int) -> int:
    """Return the route of a type id: its upper 16 bits."""

def msg_type(type_id: int) -> int:
    """Return the message type of a type id: its lower 16 bits."""

def tachyon_rpc(msg_type: int) -> _Decorator:
    """Bind a `memoryview -> bytes` function to a message type, 0 to 65534."""

def codegen_rust(json: str, /) -> str:
    """Write the Rust that calls, or serves, what a description in JSON tells of."""

def _decode_error(payload: Buffer | RpcError) -> int:
    """Return the message type of the request that an error reply, or the error raised for it, is about."""

@final
class Message:
    """A received message that owns its bytes. Compares by value, pickles, and matches positionally."""

    __match_args__: Final = ("type_id", "size", "data")
    def __new__(cls, type_id: int, size: int, data: bytes | memoryview) -> Self: ...
    @property
    def type_id(self) -> int:
        """What the sender passed as `type_id`."""
    @property
    def size(self) -> int:
        """Length of the payload in bytes."""
    @property
    def data(self) -> bytes:
        """The payload."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[type[Message], tuple[int, int, bytes]]: ...

@disjoint_base
class Memory:
    """Some bytes of a memoryview, with a buffer of their own: what a Struct or an Array is a window on."""

    def __new__(cls, view: memoryview, at: int, length: int, form: str, /) -> Self: ...
    @property
    def _view(self) -> memoryview:
        """The whole memoryview."""
    @property
    def _at(self) -> int:
        """Where in it this begins."""
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Bus:
    """A one-way bus: one process sends, the other receives. The first operation decides which.

    One thread may use it at a time; a second one gets `BusyError`. As an iterator it yields owned messages until the
    peer closes.
    """

    @classmethod
    def listen(cls, socket_path: _Path, capacity: int, *, timeout: float | None = None, any_uid: bool = False) -> Bus:
        """Make a bus of `capacity` payload bytes (a power of two) and wait for one peer to connect.

        `timeout` is in seconds, None waits for ever. Peers of other users are refused unless `any_uid` is set.
        """
    @classmethod
    def connect(cls, socket_path: _Path, *, timeout: float | None = 5.0, any_uid: bool = False) -> Bus:
        """Connect to a listener, waiting up to `timeout` seconds for it to appear (None: for ever)."""
    def close(self) -> None:
        """Say goodbye to the peer and give everything back. Closing twice is fine; views stay readable."""
    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
    def set_numa_node(self, node_id: int) -> None:
        """Prefer a NUMA node (0 to 63) for the bus's memory and move it there. Call before the first message."""
    def set_polling_mode(self, pure_spin: int) -> None:
        """Never park while waiting (1), or spin for a while and then park (0, the default)."""
    def send(self, data: Buffer, type_id: int = 0, *, timeout: float | None = None) -> None:
        """Copy any C-contiguous buffer into the ring and publish it, waiting for room if need be."""
    def recv(self, *, timeout: float | None = None, spin_threshold: int | None = None) -> Message:
        """Wait for a message and return a copy of it."""
    def send_zero_copy(self, size: int, type_id: int = 0, *, timeout: float | None = None) -> TxGuard:
        """Reserve `size` bytes in the ring to write in place; leaving the guard publishes them."""
    def recv_zero_copy(self, *, timeout: float | None = None, spin_threshold: int | None = None) -> RxGuard:
        """Wait for a message and lend it in place; leaving the guard gives its room back to the sender."""
    def drain_batch(
        self, max_msgs: int = 1024, spin_threshold: int | None = None, *, timeout: float | None = None
    ) -> RxBatchGuard:
        """Wait for one message, then lend it and those behind it, at most `max_msgs`, in one crossing."""
    def __iter__(self) -> Self: ...
    def __next__(self) -> Message: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class TxGuard:
    """Room for one message, to be written in place through `memoryview(guard)`.

    Leaving the `with` block publishes the first `actual_size` bytes; leaving it by an exception publishes nothing.
    """

    type_id: int
    """What the receiver sees as `type_id`."""
    actual_size: int
    """How many of the reserved bytes to publish; all of them unless set."""
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class RxGuard:
    """A received message, read in place through `memoryview(guard)`; leaving the `with` block gives it back."""

    @property
    def actual_size(self) -> int:
        """Length of the payload in bytes."""
    @property
    def type_id(self) -> int:
        """What the sender passed as `type_id`."""
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class RxMsgView:
    """One message of a batch, in place: a read-only buffer, and a one-dimensional uint8 array to DLPack."""

    @property
    def actual_size(self) -> int:
        """Length of the payload in bytes."""
    @property
    def type_id(self) -> int:
        """What the sender passed as `type_id`."""
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __dlpack__(
        self,
        *,
        stream: object = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> CapsuleType:
        """Lend the payload as a DLPack capsule.

        A consumer that speaks DLPack 1 gets it flagged read-only. The older capsule has no such flag: do not write.
        """
    def __dlpack_device__(self) -> tuple[Literal[1], Literal[0]]:
        """Return DLPack's name for the CPU."""

@final
class RxBatchGuard:
    """A sequence of messages, read in place; leaving the `with` block gives all of them back."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> RxMsgView: ...
    def __iter__(self) -> Iterator[RxMsgView]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class RpcBus:
    """A bus for calls: requests on the forward ring, replies on the reverse ring.

    The first operation decides whether this side calls or serves. A caller belongs to one thread at a time; a callee
    may serve in one thread and reply in another. A second thread on the same direction gets `BusyError`.
    """

    @classmethod
    def listen(
        cls, socket_path: _Path, cap_fwd: int, cap_rev: int, *, timeout: float | None = None, any_uid: bool = False
    ) -> RpcBus:
        """Make an RPC bus and wait for one peer to connect.

        `cap_fwd` and `cap_rev` are the payload bytes (powers of two) of the rings for requests and for replies;
        `timeout` is in seconds, None waits for ever. Peers of other users are refused unless `any_uid` is set.
        """
    @classmethod
    def connect(cls, socket_path: _Path, *, timeout: float | None = 5.0, any_uid: bool = False) -> RpcBus:
        """Connect to a listener, waiting up to `timeout` seconds for it to appear (None: for ever)."""
    @classmethod
    def rpc_listen(
        cls, socket_path: _Path, cap_fwd: int, cap_rev: int, *, timeout: float | None = None, any_uid: bool = False
    ) -> RpcBus:
        """Do what `listen` does, under its older name."""
    @classmethod
    def rpc_connect(cls, socket_path: _Path, *, timeout: float | None = 5.0, any_uid: bool = False) -> RpcBus:
        """Do what `connect` does, under its older name."""
    def close(self) -> None:
        """Say goodbye to the peer and give everything back. Closing twice is fine; views stay readable."""
    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
    def describe(self, *, timeout: float | None = None) -> Description:
        """Ask the peer what endpoints it offers.

        Raises `NoHandlerError` if the peer cannot say, because no dispatcher serves there.
        """
    def ping(self, *, timeout: float | None = None) -> float:
        """Ask the peer whether it is there, and return the seconds its answer took."""
    def set_numa_node(self, node_id: int) -> None:
        """Prefer a NUMA node (0 to 63) for the bus's memory and move it there. Call before the first message."""
    def set_polling_mode(self, pure_spin: int) -> None:
        """Never park while waiting (1), or spin for a while and then park (0, the default)."""
    def call(
        self,
        payload: Buffer,
        msg_type: int,
        max_payload_size: int | None = None,
        spin_threshold: int | None = None,
        *,
        timeout: float | None = None,
    ) -> int:
        """Send a request and return its correlation id, to be passed to `wait`.

        `max_payload_size` is accepted for older callers: a payload longer than it is refused.
        """
    def call_zero_copy(self, max_payload_size: int, msg_type: int, *, timeout: float | None = None) -> RpcTxGuard:
        """Reserve room for a request to write in place; its `out_cid` is set once the guard is left."""
    def wait(
        self, correlation_id: int, spin_threshold: int | None = None, *, timeout: float | None = None
    ) -> RpcRxGuard:
        """Wait for the reply to a call and lend it in place. Replies may be taken in any order."""
    def serve(self, spin_threshold: int | None = None, *, timeout: float | None = None) -> RpcRxGuard:
        """Wait for a request and lend it in place."""
    def reply(
        self,
        correlation_id: int,
        payload: Buffer,
        msg_type: int,
        max_payload_size: int | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Answer the request that `serve` lent with this correlation id."""
    def reply_zero_copy(
        self, correlation_id: int, max_payload_size: int, msg_type: int, *, timeout: float | None = None
    ) -> RpcTxGuard:
        """Reserve room for a reply to write in place; leaving the guard sends it."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class RpcTxGuard:
    """Room for one request or reply, to be written in place through `memoryview(guard)`.

    Leaving the `with` block sends the first `actual_size` bytes; leaving it by an exception sends nothing.
    """

    msg_type: int
    """The message type it will carry."""
    actual_size: int
    """How many of the reserved bytes to send; all of them unless set."""
    @property
    def out_cid(self) -> int:
        """The correlation id of the call once it is sent; 0 before, and for a reply."""
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class RpcRxGuard:
    """A request or a reply, read in place through `memoryview(guard)`; leaving the `with` block gives it back."""

    @property
    def actual_size(self) -> int:
        """Length of the payload in bytes."""
    @property
    def type_id(self) -> int:
        """The message type; 0xFFFF for an error reply."""
    @property
    def correlation_id(self) -> int:
        """Which call it belongs to."""
    @property
    def error_kind(self) -> ErrorKind | None:
        """What went wrong, if this is an error reply."""
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class RpcEndpoint(Generic[_RequestT_contra, _ReplyT_co]):
    """A function bound to a message type. Calling it runs it here; `call` runs it in the peer.

    What it takes and gives is in its function's type hints; without hints that is bytes.
    """

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]
    @overload
    def __new__(cls, fn: Callable[[], _GivenT], msg_type: int) -> RpcEndpoint[None, _GivenT]: ...
    @overload
    def __new__(cls, fn: Callable[[memoryview], _Bytes], msg_type: int) -> RpcEndpoint: ...  # type: ignore[overload-overlap]
    @overload
    def __new__(cls, fn: Callable[[memoryview], _GivenT], msg_type: int) -> RpcEndpoint[Buffer, _GivenT]: ...
    @overload
    def __new__(cls, fn: Callable[[bytes], _GivenT], msg_type: int) -> RpcEndpoint[Buffer, _GivenT]: ...
    @overload
    def __new__(cls, fn: Callable[[_TakenT], _GivenT], msg_type: int) -> RpcEndpoint[_TakenT, _GivenT]: ...
    @property
    def msg_type(self) -> int:
        """The message type its requests and replies carry."""
    @overload
    def __call__(self: RpcEndpoint[None, _GivenT]) -> _GivenT: ...
    @overload
    def __call__(self: RpcEndpoint[Array[_TakenT], _GivenT], payload: Sequence[_TakenT]) -> _GivenT: ...
    @overload
    def __call__(self, payload: _RequestT_contra) -> _ReplyT_co: ...
    @overload
    def call(
        self: RpcEndpoint[None, _GivenT],
        bus: RpcBus,
        payload: None = None,
        on_response: None = None,
        spin_threshold: int | None = None,
        *,
        timeout: float | None = None,
    ) -> _GivenT:
        """Call the peer's function, which takes nothing, and return its reply."""
    @overload
    def call(
        self: RpcEndpoint[Array[_TakenT], _GivenT],
        bus: RpcBus,
        payload: Sequence[_TakenT],
        on_response: None = None,
        spin_threshold: int | None = None,
        *,
        timeout: float | None = None,
    ) -> _GivenT:
        """Call the peer's function, which takes any number of values, and return its reply."""
    @overload
    def call(
        self,
        bus: RpcBus,
        payload: _RequestT_contra,
        on_response: None = None,
        spin_threshold: int | None = None,
        *,
        timeout: float | None = None,
    ) -> _ReplyT_co:
        """Call the peer's function and return a copy of its reply."""
    @overload
    def call(
        self,
        bus: RpcBus,
        payload: _RequestT_contra,
        on_response: Callable[[memoryview], _T],
        spin_threshold: int | None = None,
        *,
        timeout: float | None = None,
    ) -> _T:
        """Call the peer's function and return what `on_response` makes of the reply's bytes, lent to it in place."""
    @classmethod
    def __class_getitem__(cls, item: object) -> GenericAlias: ...

@type_check_only
class _Decorator(Protocol):
    """Turns a function into an endpoint of what its hints say."""

    @overload
    def __call__(self, function: Callable[[], _GivenT], /) -> RpcEndpoint[None, _GivenT]: ...
    @overload
    def __call__(self, function: Callable[[memoryview], _Bytes], /) -> RpcEndpoint: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[[memoryview], _GivenT], /) -> RpcEndpoint[Buffer, _GivenT]: ...
    @overload
    def __call__(self, function: Callable[[bytes], _GivenT], /) -> RpcEndpoint[Buffer, _GivenT]: ...
    @overload
    def __call__(self, function: Callable[[_TakenT], _GivenT], /) -> RpcEndpoint[_TakenT, _GivenT]: ...

@final
class RpcDispatcher:
    """Routes requests to the endpoints registered for their message type."""

    def __new__(cls, *, send_error_text: bool = False) -> Self: ...
    def register(self, endpoint: RpcEndpoint[Any, Any]) -> Self:
        """Add an endpoint; return the dispatcher, for chaining."""
    def handler(self, msg_type: int) -> _Decorator:
        """Do what `tachyon_rpc` does, and register the endpoint."""
    def serve_once(self, bus: RpcBus, spin_threshold: int | None = None, *, timeout: float | None = None) -> None:
        """Wait for one request, run its handler and reply.

        The caller always gets an answer. After an error reply this raises `NoHandlerError` (a `KeyError`) or
        `HandlerError` (a `RuntimeError`) here as well.
        """
    def serve_forever(self, bus: RpcBus, spin_threshold: int | None = None) -> None:
        """Serve until the peer closes. Failing handlers are logged, with traceback, on the logger `tachyon`.

        `KeyboardInterrupt` and `PeerDeadError` end it and propagate.
        """
    def __len__(self) -> int: ...
    def __contains__(self, msg_type: int, /) -> bool: ...
