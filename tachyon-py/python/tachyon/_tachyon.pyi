"""Types of the native module; everything here is re-exported by `tachyon`."""

import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from types import GenericAlias, TracebackType
from typing import (
    Any,
    Final,
    Generic,
    Literal,
    Protocol,
    Self,
    TypeAlias,
    final,
    overload,
    type_check_only,
)

from typing_extensions import Buffer, CapsuleType, ParamSpec, TypeVar, disjoint_base

from tachyon._array import Array
from tachyon._declared import EndpointError
from tachyon._description import Description
from tachyon.errors import ErrorKind, RpcError, TachyonError, TimedOutError

__all__ = [
    "MSG_TYPE_ERROR",
    "Attempts",
    "Bus",
    "Comparison",
    "Contract",
    "CurrentCall",
    "FieldCore",
    "Items",
    "LoopCalls",
    "LoopConnecting",
    "LoopReconnecting",
    "LoopRequest",
    "LoopServing",
    "Memory",
    "Message",
    "Plan",
    "PoolLease",
    "PoolPlaces",
    "RpcBus",
    "RpcDispatcher",
    "RpcEndpoint",
    "RpcRxGuard",
    "RpcServer",
    "RpcTxGuard",
    "RustEndpoint",
    "RxBatchGuard",
    "RxGuard",
    "RxMsgView",
    "ServerStats",
    "TimedBus",
    "TxGuard",
    "Values",
    "__version__",
    "_current_call",
    "_decode_error",
    "codegen_rust",
    "live_servers",
    "make_type_id",
    "msg_type",
    "ping",
    "read_description",
    "read_error",
    "route_id",
    "tachyon_rpc",
]

_T = TypeVar("_T")
_Path: TypeAlias = str | os.PathLike[str]
_Bytes: TypeAlias = bytes | bytearray | memoryview
_ParametersT = ParamSpec("_ParametersT", default=[Buffer])
_OwnT = ParamSpec("_OwnT")
_TakenT_contra = TypeVar("_TakenT_contra", contravariant=True)
_ReplyT_co = TypeVar("_ReplyT_co", default=bytes, covariant=True)
_HereT_co = TypeVar("_HereT_co", default=_ReplyT_co, covariant=True)
_TakenT = TypeVar("_TakenT")
_GivenT = TypeVar("_GivenT")
_Awaited: TypeAlias = Coroutine[Any, Any, _GivenT]
_Raises: TypeAlias = type[EndpointError] | Sequence[type[EndpointError]] | None

__version__: Final[str]
MSG_TYPE_ERROR: Final = 0xFFFF
"""The msg_type of error replies."""

def make_type_id(route: int, msg_type: int) -> int:
    """Join a route (upper 16 bits) and a message type (lower 16 bits); routes from 1 up are reserved for RPC."""

def route_id(type_id: int) -> int:
    """Return the route of a type id: its upper 16 bits."""

def msg_type(type_id: int) -> int:
    """Return the message type of a type id: its lower 16 bits."""

def tachyon_rpc(msg_type: int, *, idempotent: bool = False, raises: _Raises = None) -> _Decorator:
    """Bind a function to a message type, 0 to 65534.

    Its type hints say what travels; without hints the function gets a memoryview of the request in place, valid during
    the call only, and returns bytes. An `async def` function gets a copy of the request, and is served by
    `serve_async`. An endpoint is `idempotent` if a request that was lost with its peer may be sent again to the next
    one, by a bus that reconnects. `raises` are the errors that it declares, classes of `EndpointError`.
    """

def _current_call() -> CurrentCall | None:
    """Return the request that the handler on this thread is busy with."""

def codegen_rust(json: str, /) -> str:
    """Write the Rust that calls, or serves, what a description in JSON tells of."""

def read_description(json: str, /) -> str:
    """Check a description in JSON, of any schema that is known, and give it in the schema of this version."""

def read_error(kind: int, payload: bytes) -> RpcError:
    """Give the exception that an error reply of a kind stands for."""

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
    def __tachyon_view__(self) -> memoryview:
        """The whole memoryview."""
    @property
    def __tachyon_at__(self) -> int:
        """Where in it this begins."""
    def __buffer__(self, flags: int, /) -> memoryview: ...

@disjoint_base
class Items(Memory):
    """Values of one type, where they lie: the base of an Array."""

    def __new__(cls, view: memoryview, at: int, length: int, form: str, plan: Plan, of: int, /) -> Self: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...
    def __setitem__(self, index: Any, value: Any, /) -> None: ...

@disjoint_base
class Values:
    """The values of a Struct that has no fixed size, in the order of its fields."""

    def __new__(cls, *_args: object, **_kwargs: object) -> Self: ...

@disjoint_base
class FieldCore:
    """One field of a Struct: reads and writes."""

    def __new__(cls, plan: Plan, index: int, place: str, *_args: object) -> Self: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> Any: ...
    def __set__(self, instance: Any, value: Any, /) -> None: ...
    def __delete__(self, instance: Any, /) -> None: ...
    def reset(self, instance: Any) -> None:
        """Give a Struct the field's default."""
    @property
    def place(self) -> str:
        """Its place in errors."""

@final
class Plan:
    """The types of one hint, by which the extension reads and writes values; `tachyon._layout` makes them."""

    def __new__(cls, nodes: list[tuple[Any, ...]]) -> Self: ...
    def encode(self, value: Any, place: str) -> bytes:
        """Give the message that a value is, or raise TypeError, ValueError or OverflowError naming `place`."""
    def encode_fields(self, values: list[Any]) -> bytes:
        """Give the message that the values of the fields of a head are."""
    def decode(self, data: Buffer, place: str) -> Any:
        """Give the value that a message is, for good, or raise BadRequestError."""
    def normal(self, value: Any, place: str) -> Any:
        """Give what a variable Struct's field, or a default, holds for a value."""
    def offsets(self) -> tuple[int, list[int]]:
        """Where a Struct's values end, or the head of others, and where each of their fields begins."""
    @property
    def size(self) -> int | None:
        """The bytes of a fixed value, None for others."""
    @property
    def align(self) -> int | None:
        """The alignment of a fixed value, None for others."""

@final
class Contract:
    """The meaning of an endpoint's hints; `tachyon._contract` makes it."""

    def __new__(
        cls,
        name: str,
        json: str,
        request: tuple[str, Plan | None],
        reply: tuple[str, Plan | None],
        parameters: list[tuple[str, bool, bool, Any]],
        raises: list[tuple[str, type[EndpointError], Plan | None]],
    ) -> Self: ...
    @property
    def key(self) -> int:
        """Tells agreements apart."""
    @property
    def typed(self) -> bool:
        """Whether the two sides can mean different things."""
    def describe(self) -> str:
        """Give the description of the endpoint alone, as JSON."""
    def decode(self, data: bytes) -> Any:
        """Give the value of a reply, for good."""
    def declared_error(self, kind: int, payload: bytes) -> EndpointError | None:
        """Give the exception that the endpoint declares for an error reply of a kind and its bytes, None for others."""

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

    @property
    def __tachyon_loop_connection__(self) -> Any:
        """The event loop's part of this bus."""
    @__tachyon_loop_connection__.setter
    def __tachyon_loop_connection__(self, connection: Any) -> None: ...
    @classmethod
    def listen(
        cls,
        socket_path: _Path,
        cap_fwd: int,
        cap_rev: int,
        *,
        timeout: float | None = None,
        any_uid: bool = False,
        dispatcher: RpcDispatcher | None = None,
    ) -> RpcBus:
        """Make an RPC bus and wait for one peer to connect.

        `cap_fwd` and `cap_rev` are the payload bytes (powers of two) of the rings for requests and for replies;
        `timeout` is in seconds, None waits for ever. Peers of other users are refused unless `any_uid` is set. Probes,
        such as `tachyon describe`, do not take the peer's place. They are told of the endpoints that `dispatcher` has.
        """
    @classmethod
    def connect(
        cls,
        socket_path: _Path,
        *,
        timeout: float | None = 5.0,
        any_uid: bool = False,
        ring_sizes: tuple[int, int] | None = None,
        reconnect: bool = False,
        probe: bool = False,
    ) -> RpcBus:
        """Connect to a listener, waiting up to `timeout` seconds for it to appear (None: for ever).

        A server is asked for rings of `ring_sizes` payload bytes, for requests and for replies; without, it decides.
        With `reconnect` this side calls, and when its peer has closed or died, the next call connects again. A request
        that was sent is sent again only if its endpoint is `idempotent`. A `probe` leaves a listener for one peer its
        place: it raises `OnePeerError`, while a server takes it as any other caller.
        """
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
    def within(self, seconds: float) -> TimedBus:
        """Return the bus for calls that take so many seconds at most: `endpoint.call(bus.within(0.5), scan, radius)`.

        The limit covers a whole call, and travels with its request. Each call has the time for itself.
        """
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

        With a `timeout` the callee is told until when the reply is wanted, and need not begin what comes too late.
        `max_payload_size` is accepted for older callers: a payload longer than it is refused.
        """
    def call_zero_copy(self, max_payload_size: int, msg_type: int, *, timeout: float | None = None) -> RpcTxGuard:
        """Reserve room for a request to write in place; its `out_cid` is set once the guard is left."""
    def wait(
        self, correlation_id: int, spin_threshold: int | None = None, *, timeout: float | None = None
    ) -> RpcRxGuard:
        """Wait for the reply to a call and lend it in place. Replies may be taken in any order.

        A call whose wait timed out is forgotten, and its late reply is dropped.
        """
    def forget(self, correlation_id: int) -> bool:
        """Give a call up: its handler is cancelled, its late reply dropped. False when no such call is outstanding."""
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
class RpcEndpoint(Generic[_ParametersT, _ReplyT_co, _HereT_co]):
    """A function bound to a message type. Calling it runs it here; `call` and `acall` run it in the peer.

    What it takes and gives is in its function's type hints; without hints that is bytes. Its parameters to a type
    checker are those of the function; one of bytes takes any buffer, and one of an Array alone any sequence.
    """

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]
    @overload
    def __new__(
        cls,
        fn: Callable[[memoryview], _Awaited[_Bytes]],
        msg_type: int,
        *,
        idempotent: bool = False,
        raises: _Raises = None,
    ) -> RpcEndpoint[[Buffer], bytes, _Awaited[bytes]]: ...
    @overload
    def __new__(
        cls,
        fn: Callable[[memoryview], _Awaited[_GivenT]],
        msg_type: int,
        *,
        idempotent: bool = False,
        raises: _Raises = None,
    ) -> RpcEndpoint[[Buffer], _GivenT, _Awaited[_GivenT]]: ...
    @overload
    def __new__(
        cls, fn: Callable[[memoryview], _Bytes], msg_type: int, *, idempotent: bool = False, raises: _Raises = None
    ) -> RpcEndpoint[[Buffer], bytes]: ...
    @overload
    def __new__(
        cls, fn: Callable[[memoryview], _GivenT], msg_type: int, *, idempotent: bool = False, raises: _Raises = None
    ) -> RpcEndpoint[[Buffer], _GivenT]: ...
    @overload
    def __new__(
        cls,
        fn: Callable[[bytes], _Awaited[_GivenT]],
        msg_type: int,
        *,
        idempotent: bool = False,
        raises: _Raises = None,
    ) -> RpcEndpoint[[Buffer], _GivenT, _Awaited[_GivenT]]: ...
    @overload
    def __new__(
        cls, fn: Callable[[bytes], _GivenT], msg_type: int, *, idempotent: bool = False, raises: _Raises = None
    ) -> RpcEndpoint[[Buffer], _GivenT]: ...
    @overload
    def __new__(
        cls,
        fn: Callable[[Array[_TakenT]], _Awaited[_GivenT]],
        msg_type: int,
        *,
        idempotent: bool = False,
        raises: _Raises = None,
    ) -> RpcEndpoint[[Sequence[_TakenT]], _GivenT, _Awaited[_GivenT]]: ...
    @overload
    def __new__(
        cls, fn: Callable[[Array[_TakenT]], _GivenT], msg_type: int, *, idempotent: bool = False, raises: _Raises = None
    ) -> RpcEndpoint[[Sequence[_TakenT]], _GivenT]: ...
    @overload
    def __new__(
        cls, fn: Callable[_OwnT, _Awaited[_GivenT]], msg_type: int, *, idempotent: bool = False, raises: _Raises = None
    ) -> RpcEndpoint[_OwnT, _GivenT, _Awaited[_GivenT]]: ...
    @overload
    def __new__(
        cls, fn: Callable[_OwnT, _GivenT], msg_type: int, *, idempotent: bool = False, raises: _Raises = None
    ) -> RpcEndpoint[_OwnT, _GivenT]: ...
    @property
    def msg_type(self) -> int:
        """The message type its requests and replies carry."""
    @property
    def idempotent(self) -> bool:
        """Whether a request may be handled twice where it was made once."""
    @property
    def __tachyon_timeout__(self) -> bool:
        """Whether `timeout` is a setting of its calls: it has one parameter, or none, and that has another name."""
    def __tachyon_request__(
        self, within: float | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[bytes, float | None, Contract | None]:
        """Return the bytes of a call's request, the seconds that the call has, and the contract."""
    def __call__(self, *args: _ParametersT.args, **kwargs: _ParametersT.kwargs) -> _HereT_co: ...
    @overload
    def call(self, bus: RpcBus | TimedBus, /, *args: _ParametersT.args, **kwargs: _ParametersT.kwargs) -> _ReplyT_co:
        """Call the peer's function with its arguments, and return its reply.

        The time of a call on `bus.within(0.5)` travels with the request: its handler sees it in `current_call()`. A
        typed endpoint's first call on a connection asks the peer what it means by the endpoint; if that differs, this
        raises `LayoutMismatchError` and calls nothing.
        """
    @overload
    def call(
        self: _TakesNothing,
        bus: RpcBus | TimedBus,
        payload: None = None,
        on_response: None = None,
        spin_threshold: int | None = None,
        *,
        timeout: float | None = None,
    ) -> _ReplyT_co:
        """Call the peer's function, which takes nothing, and return its reply."""
    @overload
    def call(
        self: _TakesNothing,
        bus: RpcBus | TimedBus,
        payload: None,
        on_response: Callable[[memoryview], _T],
        spin_threshold: int | None = None,
        *,
        timeout: float | None = None,
    ) -> _T:
        """Call the peer's function, which takes nothing, and return what `on_response` makes of the reply's bytes."""
    @overload
    def call(
        self: _TakesOne[_TakenT],
        bus: RpcBus | TimedBus,
        payload: _TakenT,
        on_response: None = None,
        spin_threshold: int | None = None,
        *,
        timeout: float | None = None,
    ) -> _ReplyT_co:
        """Call the peer's function, which takes one value, and return its reply."""
    @overload
    def call(
        self: _TakesOne[_TakenT],
        bus: RpcBus | TimedBus,
        payload: _TakenT,
        on_response: Callable[[memoryview], _T],
        spin_threshold: int | None = None,
        *,
        timeout: float | None = None,
    ) -> _T:
        """Call the peer's function and return what `on_response` makes of the reply's bytes, lent to it in place."""
    @overload
    def acall(
        self, bus: RpcBus | TimedBus, /, *args: _ParametersT.args, **kwargs: _ParametersT.kwargs
    ) -> Coroutine[Any, Any, _ReplyT_co]:
        """Call the peer's function from a coroutine, and return its reply.

        Any number of calls may be under way on one bus, which belongs to the running event loop from the first one on;
        calls wait their turn while the ring is full. A call that is cancelled or times out is forgotten: the bus stays
        usable, and its late reply is dropped. Arguments are read at once, and may change while the call is under way.
        Errors are those of `call`.
        """
    @overload
    def acall(
        self: _TakesNothing, bus: RpcBus | TimedBus, payload: None = None, *, timeout: float | None = None
    ) -> Coroutine[Any, Any, _ReplyT_co]:
        """Call the peer's function, which takes nothing, from a coroutine, and return its reply."""
    @overload
    def acall(
        self: _TakesOne[_TakenT], bus: RpcBus | TimedBus, payload: _TakenT, *, timeout: float | None = None
    ) -> Coroutine[Any, Any, _ReplyT_co]:
        """Call the peer's function, which takes one value, from a coroutine, and return its reply."""
    @classmethod
    def __class_getitem__(cls, item: object) -> GenericAlias: ...

@type_check_only
class _TakesOne(Protocol[_TakenT_contra]):
    """An endpoint that one value is enough for."""

    def __call__(self, payload: _TakenT_contra, /) -> object: ...

@type_check_only
class _TakesNothing(Protocol):
    """An endpoint that nothing is enough for."""

    def __call__(self) -> object: ...

@final
class TimedBus:
    """A bus from `RpcBus.within`: calls on it have so many seconds each."""

@final
class RustEndpoint:
    """An endpoint that an extension in Rust exported with `tachyon::python::export`.

    `RpcDispatcher.register` puts it into the same table as endpoints in Python. It runs on the thread that serves,
    without the interpreter.
    """

    __name__: str
    __qualname__: str
    def __new__(cls, capsule: CapsuleType, /) -> Self: ...
    @property
    def msg_type(self) -> int:
        """The message type its requests and replies carry."""

@type_check_only
class _Decorator(Protocol):
    """Turns a function into an endpoint of what its hints say."""

    @overload
    def __call__(
        self, function: Callable[[memoryview], _Awaited[_Bytes]], /
    ) -> RpcEndpoint[[Buffer], bytes, _Awaited[bytes]]: ...
    @overload
    def __call__(
        self, function: Callable[[memoryview], _Awaited[_GivenT]], /
    ) -> RpcEndpoint[[Buffer], _GivenT, _Awaited[_GivenT]]: ...
    @overload
    def __call__(self, function: Callable[[memoryview], _Bytes], /) -> RpcEndpoint[[Buffer], bytes]: ...
    @overload
    def __call__(self, function: Callable[[memoryview], _GivenT], /) -> RpcEndpoint[[Buffer], _GivenT]: ...
    @overload
    def __call__(
        self, function: Callable[[bytes], _Awaited[_GivenT]], /
    ) -> RpcEndpoint[[Buffer], _GivenT, _Awaited[_GivenT]]: ...
    @overload
    def __call__(self, function: Callable[[bytes], _GivenT], /) -> RpcEndpoint[[Buffer], _GivenT]: ...
    @overload
    def __call__(
        self, function: Callable[[Array[_TakenT]], _Awaited[_GivenT]], /
    ) -> RpcEndpoint[[Sequence[_TakenT]], _GivenT, _Awaited[_GivenT]]: ...
    @overload
    def __call__(
        self, function: Callable[[Array[_TakenT]], _GivenT], /
    ) -> RpcEndpoint[[Sequence[_TakenT]], _GivenT]: ...
    @overload
    def __call__(
        self, function: Callable[_OwnT, _Awaited[_GivenT]], /
    ) -> RpcEndpoint[_OwnT, _GivenT, _Awaited[_GivenT]]: ...
    @overload
    def __call__(self, function: Callable[_OwnT, _GivenT], /) -> RpcEndpoint[_OwnT, _GivenT]: ...

@final
class RpcDispatcher:
    """Routes requests to the endpoints registered for their message type."""

    def __new__(cls, *, hide_error_text: bool = False) -> Self: ...
    def register(self, endpoint: RpcEndpoint[..., Any, Any] | RustEndpoint) -> Self:
        """Add an endpoint; return the dispatcher, for chaining.

        Endpoints that an extension in Rust exported go into the same table; see `RustEndpoint`.
        """
    def handler(self, msg_type: int, *, idempotent: bool = False, raises: _Raises = None) -> _Decorator:
        """Do what `tachyon_rpc` does, and register the endpoint."""
    def serve_once(self, bus: RpcBus, spin_threshold: int | None = None, *, timeout: float | None = None) -> None:
        """Wait for one request, run its handler and reply.

        The caller always gets an answer. After an error reply this raises `NoHandlerError` (a `KeyError`) or
        `HandlerError` (a `RuntimeError`) here as well.
        """
    def serve_forever(self, bus: RpcBus | RpcServer, spin_threshold: int | None = None, *, workers: int = 1) -> None:
        """Serve a bus until its peer closes, or the callers of a server until it is stopped.

        Failing handlers are logged, with traceback, on the logger `tachyon`. `KeyboardInterrupt`, and on a bus
        `PeerDeadError`, end it and propagate; a server is stopped in good order first. With several `workers` the
        callers of a server are shared among as many threads, this one among them, and handlers of different callers run
        side by side as far as the interpreter's lock lets them.

        With endpoints in Rust the serving goes on while other threads hold the interpreter's lock: it is done by a
        thread of its own, where handlers in Python run, too, while this one sees to signals and to the log.
        """
    def serve_async(self, bus: RpcBus | RpcServer, *, concurrency: int = 100) -> Coroutine[Any, Any, None]:
        """Serve a bus until its peer closes, or the callers of a server until it is stopped, from a coroutine.

        Handlers that are coroutine functions run as tasks, up to `concurrency` at a time; others run in between, and
        keep the loop waiting while they do. When this is cancelled, handlers that still run are, too, and their callers
        get an error reply of kind `CANCELLED`. A bus that was served is closed afterwards.
        """
    def __len__(self) -> int: ...
    def __contains__(self, msg_type: int, /) -> bool: ...

@final
class RpcServer:
    """The serving end of RPC for many callers, at one path.

    Every caller that connects gets a pair of rings of its own, and callers come, go and crash without the others
    noticing. `dispatcher.serve_forever(server)` serves them, and `stop` ends that. The rings have `forward` payload
    bytes for requests and `reverse` for replies (powers of two); a caller may ask for more, up to `max_forward` and
    `max_reverse`. One caller more than `max_callers` is told that the server is busy. A client that does not finish its
    handshake within `handshake_timeout` seconds is dropped; a server that stops gives what has begun, and callers
    that do not take their last replies, `stop_timeout` seconds in all. Of `max_callers`, one process may be
    `callers_per_process`. The rings of all callers together take `ring_bytes` at most: a caller that asks for more than
    is left gets smaller ones, or is told that the server is busy. Users other than this process's are refused unless
    `any_uid` is set.

    While it is served, a thread of its own lets callers in, so that they connect however long handlers take. With
    `acceptor="inline"` the serving thread or loop does, for a process that must have one thread, such as one that
    forks.

    Callers that come and go, and clients that are turned away, are reported on the logger `tachyon`.
    """

    def __new__(
        cls,
        path: _Path,
        *,
        forward: int = 65536,
        reverse: int = 65536,
        max_callers: int = 64,
        max_forward: int = 16777216,
        max_reverse: int = 16777216,
        handshake_timeout: float = 1.0,
        stop_timeout: float = 1.0,
        any_uid: bool = False,
        acceptor: Literal["thread", "inline"] = "thread",
        callers_per_process: int | None = None,
        ring_bytes: int = 1073741824,
    ) -> Self: ...
    @property
    def path(self) -> Path:
        """Where callers connect."""
    @property
    def callers(self) -> int:
        """How many callers are connected."""
    @property
    def closed(self) -> bool:
        """Whether the server was stopped, and its path is free."""
    def stop(self) -> None:
        """Have the server finish, from any thread or from a handler; return at once.

        Requests being handled are answered, queued ones get an error reply of kind `STOPPING`, connections are closed
        in good order, and `serve_forever` returns.
        """
    def close(self) -> None:
        """Stop, and wait until the path is free; in a handler of this server it does not wait.

        Closing twice is fine.
        """
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class CurrentCall:
    """The request that a handler is busy with."""

    @property
    def msg_type(self) -> int:
        """The endpoint's message type."""
    @property
    def name(self) -> str:
        """The endpoint's name."""
    @property
    def correlation_id(self) -> int:
        """The call's number, which its caller counts up from 1."""
    @property
    def caller_id(self) -> int:
        """The caller's number, from 1 up; a server never uses one again. The one caller of a bus is 1."""
    @property
    def caller_pid(self) -> int | None:
        """The caller's process id; None where it is not visible from here."""
    @property
    def caller_uid(self) -> int | None:
        """The caller's user id; None where this process's user namespace does not map it."""
    @property
    def deadline(self) -> float | None:
        """The `time.monotonic()` until when the caller waits; None when it set no timeout."""
    @property
    def remaining(self) -> float | None:
        """The seconds that the caller still waits, 0.0 when it has given up; None when it set no timeout."""
    def is_cancelled(self) -> bool:
        """Whether the answer is wanted no more: the caller cancelled the call, closed or died, or its timeout is over.

        A plain handler that runs for long asks this now and then, and ends early. A coroutine function need not: its
        task is cancelled.
        """

@final
class Attempts:
    """Which failed calls an event loop makes again; `acall` uses it."""

    def __new__(cls, reconnects: bool, idempotent: bool, seconds: float | None) -> Self: ...
    @property
    def may_have_begun(self) -> bool:
        """Whether an earlier attempt may have begun."""
    def again(self, error: BaseException) -> bool:
        """Return whether a call that ended in this error is made again, once the connection has ended."""

@final
class Comparison:
    """What an event loop asks a callee before the first request of a typed endpoint; `acall` uses it."""

    def __new__(cls, json: str) -> Self: ...
    def take(self, answer: bytes | RpcError) -> bool:
        """Take the answer to a question; False when another one is due."""

@final
class LoopCalls:
    """What an event loop has of a bus it calls on. Keeps nothing of the bus alive; `acall` uses it."""

    def __new__(cls, bus: RpcBus) -> Self: ...
    @property
    def reconnects(self) -> bool:
        """Whether the bus connects again when its connection has ended."""
    def fileno(self) -> int:
        """Return what to watch: readable when there is something to `receive`."""
    def send(self, bus: RpcBus, payload: bytes, msg_type: int, timeout: float | None) -> int:
        """Send a request and return its correlation id; 0 when there is no room."""
    def ask(self, bus: RpcBus, comparison: Comparison) -> int:
        """Ask the next question of a comparison and return its correlation id; 0 when there is no room."""
    def receive(
        self, bus: RpcBus, into: list[tuple[int, bytes | RpcError]], armed: bool, room: int | None
    ) -> bool | None:
        """Append the replies that have come; return whether there may be more already, None if it was armed before."""
    def forget(self, bus: RpcBus, correlation_id: int, cancel: bool) -> bool:
        """Give a call up; return whether its cancellation waits for room."""
    @staticmethod
    def release(bus: RpcBus) -> None:
        """Give the bus back."""

@final
class LoopConnecting:
    """A bus that an event loop connects; a pool's `acall` uses it."""

    def __new__(
        cls,
        socket_path: _Path,
        *,
        timeout: float | None,
        any_uid: bool,
        ring_sizes: tuple[int, int] | None,
    ) -> Self: ...
    def step(self) -> RpcBus | tuple[int, float]:
        """Take the next step; return the bus when it is connected, otherwise a descriptor or -1, and seconds."""

@final
class LoopReconnecting:
    """A bus that an event loop connects again; `acall` uses it."""

    def __new__(cls, bus: RpcBus) -> Self: ...
    def step(self, bus: RpcBus) -> tuple[int, float] | None:
        """Take the next step; return None when the bus is connected, otherwise a descriptor or -1, and seconds."""
    def missing(self) -> TachyonError | None:
        """Return the error of a call whose own time runs out while no process listens."""

@final
class PoolPlaces:
    """The places of a pool, its idle buses, and the queue of requests."""

    def __new__(cls, max_size: int) -> Self: ...
    def take(self, timeout: float | None) -> PoolLease:
        """Take a place, waiting up to `timeout` seconds for it (None: for ever)."""
    def request(self) -> PoolLease:
        """Ask for a place from a coroutine, which polls what this returns."""
    def exhausted(self) -> TimedOutError:
        """Return the error for a request whose time has passed."""
    def close(self) -> None:
        """End all requests, and close the idle buses. Others are closed when they come back."""
    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
    def __len__(self) -> int: ...

@final
class PoolLease:
    """A place of a pool: asked for, held, or given back."""

    def poll(self, wake: Callable[[], None]) -> bool:
        """Whether the place is held. If not, `wake` is called when there is one, from any thread."""
    def idle(self) -> RpcBus | None:
        """Return an idle bus that is fit for use, or None: a new one may connect. Closes those that are not fit."""
    def give_back(self, bus: RpcBus) -> None:
        """Give the place back with its bus, which is closed if it is of no use to others."""
    def leave(self) -> None:
        """Give the place back without a bus, or give the request up."""

@final
class LoopServing:
    """What an event loop has of a server or a bus it serves; `serve_async` uses it."""

    def __new__(cls, dispatcher: RpcDispatcher, target: RpcBus | RpcServer) -> Self: ...
    @property
    def stop_timeout(self) -> float:
        """The seconds that callers who do not take their last replies are waited for."""
    @property
    def overran(self) -> int:
        """Plain handlers that returned when the time of a stop was over."""
    def fileno(self) -> int:
        """Return what to watch: readable when a turn is due; -1 when it is over."""
    def turn(self, into: list[LoopRequest], cancelled: list[tuple[int, int]], places: int) -> float | None:
        """Take a turn, with at most `places` requests for `into`, and the keys of those whose callers wait no longer.

        Returns the seconds until the next turn, None for as long as nothing is readable, or a negative number when
        serving is over.
        """
    def answer(self, request: LoopRequest, response: object) -> None:
        """Answer a request with what its handler returned."""
    def fail(self, request: LoopRequest, cause: BaseException) -> None:
        """Answer a request with the error that its handler raised."""
    def turn_down(self, request: LoopRequest) -> None:
        """Answer a request whose handler is not to run, or not to its end."""
    def refuse_all(self, cancelled: list[tuple[int, int]]) -> bool:
        """Refuse requests that have not begun; False when a caller takes no more replies for now."""
    def abandon(self, cancelled: list[tuple[int, int]]) -> None:
        """Tell the callers of requests that have begun that they are cancelled."""
    def close(self) -> None:
        """Close every connection in good order, and free the path."""

@final
class LoopRequest:
    """A request that a coroutine function is to handle."""

    @property
    def call(self) -> CurrentCall:
        """What `current_call` gives the handler."""
    @property
    def key(self) -> tuple[int, int]:
        """The number of its caller, and its correlation id."""
    def cancel(self) -> None:
        """Note that the call is cancelled."""
    def start(self) -> Coroutine[Any, Any, bytes]:
        """Call the handler, which makes its coroutine."""

def live_servers() -> list[tuple[int, Path, float]]:
    """Process id, path and start of the live servers of this user."""

def ping(path: _Path, timeout: float) -> float:
    """Time one round trip, in seconds."""

@final
class ServerStats:
    """One server's statistics, and what changed since the last look."""

    def __new__(cls, path: _Path) -> Self: ...
    def snapshot(self) -> dict[str, Any]:
        """Look: totals, and from the second look on the rates since the last one."""

    def is_live(self) -> bool:
        """Whether the server still lives."""
