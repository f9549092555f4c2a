"""Types of the native module; `tachyon` re-exports the public ones."""

import os
from abc import ABCMeta
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import GenericAlias, TracebackType
from typing import (
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    Never,
    Protocol,
    Self,
    TypeAlias,
    final,
    overload,
    type_check_only,
)

from typing_extensions import Buffer, CapsuleType, ParamSpec, TypeVar, disjoint_base

from tachyon._array import Array
from tachyon._connecting import Connecting, Polling
from tachyon._declared import EndpointError
from tachyon._description import CalleeLimits, Description
from tachyon._service import Service
from tachyon._streams import AsyncStream
from tachyon.errors import ErrorKind, RpcError, TachyonError, TimedOutError
from tachyon.layers import AfterCall, AfterOutgoing, BeforeCall, BeforeOutgoing

__all__ = [
    "METADATA",
    "MSG_TYPE_ERROR",
    "AsyncRequest",
    "Attempts",
    "Bus",
    "BusView",
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
    "LoopStream",
    "Memory",
    "Message",
    "Metadata",
    "Plan",
    "PoolLease",
    "PoolPlaces",
    "RequestItems",
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
    "StatsCounts",
    "StatsObserver",
    "Stream",
    "TxGuard",
    "Values",
    "__version__",
    "_current_call",
    "_decode_error",
    "checked_polling",
    "codegen_rust",
    "error_kinds",
    "item_bytes",
    "kind_of_grpc_code",
    "live_servers",
    "make_type_id",
    "msg_type",
    "ping",
    "read_description",
    "read_error",
    "route_id",
    "rpc_pair",
    "tachyon_rpc",
]

_T = TypeVar("_T")
_Path: TypeAlias = str | os.PathLike[str]
_Bytes: TypeAlias = bytes | bytearray | memoryview
_ParametersT = ParamSpec("_ParametersT", default=[Buffer])
_OwnT = ParamSpec("_OwnT")
_ServiceT = TypeVar("_ServiceT", bound=Service)
_TakenT_contra = TypeVar("_TakenT_contra", contravariant=True)
_ReplyT_co = TypeVar("_ReplyT_co", default=bytes, covariant=True)
_HereT_co = TypeVar("_HereT_co", default=_ReplyT_co, covariant=True)
_ItemT_co = TypeVar("_ItemT_co", covariant=True)
_SentT_contra = TypeVar("_SentT_contra", contravariant=True)
_EndT_co = TypeVar("_EndT_co", covariant=True)
_SentT = TypeVar("_SentT")
_FirstT = TypeVar("_FirstT")
_SecondT = TypeVar("_SecondT")
_FirstT_contra = TypeVar("_FirstT_contra", contravariant=True)
_SecondT_contra = TypeVar("_SecondT_contra", contravariant=True)
_TakenT = TypeVar("_TakenT")
_GivenT = TypeVar("_GivenT")
_Awaited: TypeAlias = Coroutine[Any, Any, _GivenT]
_Codec: TypeAlias = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]
_Raises: TypeAlias = type[EndpointError] | Sequence[type[EndpointError]] | None

__version__: Final[str]
MSG_TYPE_ERROR: Final = 0xFFFF
"""The msg_type of error replies."""
METADATA: Final = 0x80000000
"""The bit of a type id that says that metadata follows the payload."""

def make_type_id(route: int, msg_type: int) -> int:
    """Join a route (upper 16 bits) and a message type (lower 16 bits); routes from 1 up are reserved for RPC."""

def route_id(type_id: int) -> int:
    """Return the route of a type id: its upper 16 bits."""

def msg_type(type_id: int) -> int:
    """Return the message type of a type id: its lower 16 bits."""

def tachyon_rpc(
    msg_type: int, *, idempotent: bool = False, raises: _Raises = None, codec: Literal["msgpack"] | None = None
) -> _Decorator:
    """Bind a function to a message type, 0 to 65534.

    The type hints of the function say the types of request and reply; without hints the function gets a memoryview of
    the request in place, valid during the call only, and returns bytes. An `async def` function gets a copy of the
    request, and is served by `aserve`. `idempotent` allows a bus that reconnects to send a request again to the
    next peer when a peer is lost. `raises` are the errors that the endpoint declares, classes of `EndpointError`.
    `codec="msgpack"` sends any types that msgspec knows.

    A generator, and a function with the hint `-> Iterator[T]`, answers with a stream of items. A last parameter with
    the hint `Iterator[T]` is the stream of the caller's items, and such a function runs on a thread of its own. With
    `AsyncIterator` both are for `async def`.

    In the body of a `Service` the decorator declares a method, and leaves the function as it is.
    """

def item_bytes(item: object, contract: Contract | None) -> bytes:
    """Return the bytes of an item of a stream: a value of the contract's items, or any bytes-like object."""

def checked_polling(polling: Polling) -> Polling:
    """Return a word of `polling`, or raise for another value."""

def _current_call() -> CurrentCall | None:
    """Return the request of the handler on this thread."""

def codegen_rust(json: str, /) -> str:
    """Write the Rust code that calls or serves the endpoints of a description in JSON."""

def read_description(json: str, /) -> str:
    """Check a description in JSON, of any known schema, and give it in the schema of this version."""

def error_kinds() -> list[tuple[int, str, str, int, bool]]:
    """Give the facts of every kind: number, name, sentence, code of gRPC, and whether the call may have begun."""

def kind_of_grpc_code(code: int) -> int | None:
    """Give the number of the kind for a status code of gRPC; None for 0."""

def read_error(kind: int, payload: bytes) -> RpcError:
    """Give the exception for an error reply of a kind."""

def rpc_pair(capacity: int) -> tuple[RpcBus, RpcBus]:
    """Make a connection without a path; return the buses of its callee and of its caller.

    Each ring has `capacity` bytes.
    """

def _decode_error(payload: Buffer | RpcError) -> int:
    """Return the message type of the request of an error reply, or of the error raised for it."""

@final
class Message:
    """A received message that owns its bytes. Compares by value, pickles, and matches positionally."""

    __match_args__: Final = ("type_id", "size", "data")
    def __new__(cls, type_id: int, size: int, data: bytes | memoryview) -> Self: ...
    @property
    def type_id(self) -> int:
        """The `type_id` that the sender passed."""
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
    """A part of a memoryview, with a buffer of its own: the memory of a Struct or an Array."""

    def __new__(cls, view: memoryview, at: int, length: int, form: str, /) -> Self: ...
    @property
    def __tachyon_view__(self) -> memoryview:
        """The whole memoryview."""
    @property
    def __tachyon_at__(self) -> int:
        """Offset in the memoryview."""
    def __buffer__(self, flags: int, /) -> memoryview: ...

@disjoint_base
class Items(Memory):
    """Values of one type, in place: the base of an Array."""

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
        """The field's name in error texts."""

@final
class Plan:
    """The types of one hint, by which the extension encodes and decodes; `tachyon._layout` makes it."""

    def __new__(cls, nodes: list[tuple[Any, ...]]) -> Self: ...
    def encode(self, value: Any, place: str) -> bytes:
        """Give the message of a value, or raise TypeError, ValueError or OverflowError naming `place`."""
    def encode_fields(self, values: list[Any]) -> bytes:
        """Give the message of the fields of a head."""
    def decode(self, data: Buffer, place: str) -> Any:
        """Give the value of a message, which shares no memory with it, or raise BadRequestError."""
    def normal(self, value: Any, place: str) -> Any:
        """Give the value that a variable Struct's field, or a default, holds for `value`."""
    def offsets(self) -> tuple[int, list[int]]:
        """Size of a Struct, or of the head of other payloads, in bytes, and the offset of each field."""
    @property
    def size(self) -> int | None:
        """Size of a fixed value in bytes; None for other values."""
    @property
    def align(self) -> int | None:
        """Alignment of a fixed value in bytes; None for other values."""

@final
class Contract:
    """The types in an endpoint's hints; `tachyon._contract` makes it."""

    def __new__(
        cls,
        name: str,
        json: str,
        request: tuple[str, Plan | _Codec | None],
        reply: tuple[str, Plan | _Codec | None],
        parameters: list[tuple[str, bool, bool, Any]],
        raises: list[tuple[str, type[EndpointError], Plan | None]],
        is_method: bool,
        items: tuple[str, Plan | _Codec | None] | None = None,
    ) -> Self: ...
    @property
    def key(self) -> int:
        """Identifies agreements."""
    @property
    def typed(self) -> bool:
        """Whether the two sides can differ in the types of the endpoint."""
    @property
    def name(self) -> str:
        """The endpoint's name."""
    @property
    def streams(self) -> bool:
        """Whether the callee replies with a stream of items."""
    @property
    def takes_items(self) -> bool:
        """Whether the callee takes a stream of items."""
    def describe(self) -> str:
        """Give the description of the endpoint alone, as JSON."""
    def decode(self, data: bytes) -> Any:
        """Give the value of a reply, which shares no memory with it."""
    def declared_error(self, kind: int, payload: bytes) -> EndpointError | None:
        """Give the exception that the endpoint declares for an error reply of a kind and its bytes, None for others."""

@final
class Bus:
    """A one-way bus: one process sends, the other receives. The first operation decides which.

    One thread may use it at a time; a second one gets `BusyError`. As an iterator it yields owned messages until the
    peer closes.
    """

    @classmethod
    def listen(
        cls,
        socket_path: _Path,
        capacity: int,
        *,
        timeout: float | None = None,
        any_uid: bool = False,
        polling: Polling = "adaptive",
    ) -> Bus:
        """Make a bus of `capacity` payload bytes (a power of two) and wait for one peer to connect.

        `timeout` is in seconds, None waits for ever. Peers of other users are refused unless `any_uid` is set.
        `polling` says how this side waits for its peer: `"adaptive"` spins for as long as a park costs and then parks,
        `"spin"` never parks and takes a core, `"park"` parks at once.
        """
    @classmethod
    def connect(
        cls,
        socket_path: _Path,
        *,
        timeout: float | None = 5.0,
        any_uid: bool = False,
        polling: Polling = "adaptive",
    ) -> Bus:
        """Connect to a listener, waiting up to `timeout` seconds for it to appear (None: for ever).

        `polling` is as in `listen`.
        """
    def close(self) -> None:
        """Close the connection and release its resources. Closing twice is fine; views stay readable."""
    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
    def set_numa_node(self, node_id: int) -> None:
        """Prefer a NUMA node (0 to 63) for the bus's memory and move it there. Call before the first message."""
    def set_polling_mode(self, pure_spin: Polling | int) -> None:
        """Set how this side waits, by a word of `polling`. The switches 1 (`"spin"`) and 0 (`"adaptive"`) work, too."""
    def send(self, data: Buffer, type_id: int = 0, *, timeout: float | None = None) -> None:
        """Copy any C-contiguous buffer into the ring and publish it; wait for room if the ring is full."""
    def recv(self, *, timeout: float | None = None, spin_threshold: int | None = None) -> Message:
        """Wait for a message and return a copy of it."""
    def send_zero_copy(self, size: int, type_id: int = 0, *, timeout: float | None = None) -> TxGuard:
        """Reserve `size` bytes in the ring to write in place; leaving the guard publishes them."""
    def recv_zero_copy(self, *, timeout: float | None = None, spin_threshold: int | None = None) -> RxGuard:
        """Wait for a message and read it in place; leaving the guard gives its slot back to the sender."""
    def drain_batch(
        self, max_msgs: int = 1024, spin_threshold: int | None = None, *, timeout: float | None = None
    ) -> RxBatchGuard:
        """Wait for one message, then read it and up to `max_msgs` - 1 messages behind it in place, in one call."""
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
    """Room for one message, written in place through `memoryview(guard)`.

    Leaving the `with` block publishes the first `actual_size` bytes; leaving it by an exception publishes nothing.
    """

    type_id: int
    """The `type_id` that the receiver sees."""
    actual_size: int
    """Bytes to publish; all reserved bytes unless set."""
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
        """The `type_id` that the sender passed."""
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
        """The `type_id` that the sender passed."""
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
        """Export the payload in place as a DLPack capsule.

        The capsule of DLPack 1 is flagged read-only. The older capsule has no such flag: do not write.
        """
    def __dlpack_device__(self) -> tuple[Literal[1], Literal[0]]:
        """Return DLPack's device tuple of the CPU."""

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
        polling: Polling = "adaptive",
    ) -> RpcBus:
        """Make an RPC bus and wait for one peer to connect.

        `cap_fwd` and `cap_rev` are the payload bytes (powers of two) of the rings for requests and for replies;
        `timeout` is in seconds, None waits for ever. Peers of other users are refused unless `any_uid` is set. Probes,
        such as `tachyon describe`, do not take the peer's place; they get the description of the endpoints that
        `dispatcher` has. `polling` says how this side waits for its peer: `"adaptive"` spins for as long as a park
        costs and then parks, `"spin"` never parks and takes a core, `"park"` parks at once.
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
        polling: Polling = "adaptive",
    ) -> RpcBus:
        """Connect to a listener, waiting up to `timeout` seconds for it to appear (None: for ever).

        `ring_sizes` requests rings of so many payload bytes, for requests and for replies, from a server; without it
        the server decides. With `reconnect` this side calls, and the next call after the peer has closed or died
        connects again. A request that was sent is sent again only if its endpoint is `idempotent`. A `probe` leaves a
        listener for one peer its place: it raises `OnePeerError`, while a server takes it as any other caller.
        `polling` is as in `listen`.
        """
    @classmethod
    def aconnect(
        cls,
        socket_path: _Path,
        *,
        timeout: float | None = 5.0,
        any_uid: bool = False,
        ring_sizes: tuple[int, int] | None = None,
        reconnect: bool = False,
        probe: bool = False,
        polling: Polling = "adaptive",
    ) -> Connecting:
        """Do what `connect` does, from a coroutine: `await RpcBus.aconnect(path)`.

        `async with RpcBus.aconnect(path) as bus` closes the bus at the end of the block. The timeout begins with the
        `await`, and a cancellation hangs up.
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
        """Close the connection and release its resources. Closing twice is fine; views stay readable."""
    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
    def describe(self, *, timeout: float | None = None) -> Description:
        """Ask the peer which endpoints it offers.

        Raises `NoHandlerError` if no dispatcher serves there.
        """
    def limits(self, *, timeout: float | None = None) -> CalleeLimits:
        """Ask the peer for its longest messages, and for the version of its description.

        Raises `NoHandlerError` if no dispatcher serves there.
        """
    def ping(self, *, timeout: float | None = None) -> float:
        """Time a round trip to the peer, in seconds."""
    def within(self, seconds: float) -> BusView:
        """Return the bus with a timeout for each call: `endpoint.call(bus.within(0.5), scan, radius)`.

        The timeout covers a whole call, and travels with its request as a deadline. Each call has the full time.
        """
    def metadata(self, key: str, value: str) -> BusView:
        """Return the bus with one entry of metadata for each call, a text that travels beside the request.

        The handler sees the entry in `current_call().metadata`. A key consists of `a-z`, `0-9`, `.`, `_` and `-`; all
        keys and texts of a call take at most 1 KiB. Views add up: `bus.within(0.5).metadata("tenant", "acme")`.
        """
    def layer(self, layer: BeforeOutgoing | AfterOutgoing) -> Self:
        """Add a layer, which sees each later call of this side before it is sent, and its outcome; return the bus.

        `tachyon.layers.CallerLayer` has the methods of a layer. It sees the calls of endpoints and `start`, but not
        `describe` and `ping`. A request that is written in place passes no layer, and is refused.
        """
    @property
    def __tachyon_layers__(self) -> tuple[Any, ...] | None:
        """The layers of this side."""
    @__tachyon_layers__.setter
    def __tachyon_layers__(self, layers: tuple[Any, ...]) -> None: ...
    def __tachyon_view__(self, seconds: float | None, metadata: Metadata | None) -> BusView:
        """Return the bus with settings, for a pool."""
    def set_numa_node(self, node_id: int) -> None:
        """Prefer a NUMA node (0 to 63) for the bus's memory and move it there. Call before the first message."""
    def set_polling_mode(self, pure_spin: Polling | int) -> None:
        """Set how this side waits, by a word of `polling`. The switches 1 (`"spin"`) and 0 (`"adaptive"`) work, too."""
    def start(self, payload: Buffer, msg_type: int, *, timeout: float | None = None) -> int:
        """Send a request and return its correlation id, to be passed to `finish`.

        A `timeout` in seconds travels with the request as a deadline, and the callee need not begin a request after it.
        """
    def call(
        self,
        payload: Buffer,
        msg_type: int,
        max_payload_size: int | None = None,
        spin_threshold: int | None = None,
        *,
        timeout: float | None = None,
    ) -> int:
        """Do what `start` does, under its older name. A payload longer than `max_payload_size` is refused."""
    def call_zero_copy(self, max_payload_size: int, msg_type: int, *, timeout: float | None = None) -> RpcTxGuard:
        """Reserve room for a request to write in place; its `out_cid` is set once the guard is left."""
    def finish(self, correlation_id: int, *, timeout: float | None = None) -> RpcRxGuard:
        """Wait for the reply to a call and read it in place. Replies may be taken in any order.

        A call whose wait timed out is forgotten, and a late reply is dropped. `timeout` is in seconds.
        """
    def wait(
        self, correlation_id: int, spin_threshold: int | None = None, *, timeout: float | None = None
    ) -> RpcRxGuard:
        """Do what `finish` does, under its older name."""
    def forget(self, correlation_id: int) -> bool:
        """Give a call up: its handler is cancelled, a late reply dropped. False when no such call is in flight."""
    def stream(
        self,
        msg_type: int,
        payload: Buffer = ...,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> Stream[bytes, Buffer, bytes]:
        """Open a stream of an endpoint, by number: an iterator of the callee's items as bytes.

        `timeout`, in seconds, is for the whole stream and travels with the request as a deadline; `item_timeout` is for
        each wait, after which the stream stays open. The callee may send `window` items ahead. Use the stream in a
        `with` block, which closes it. At most 32 streams are open on a bus: one more raises `BusyError`.
        """
    def astream(
        self,
        msg_type: int,
        payload: Buffer = ...,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> AsyncStream[bytes, Buffer, bytes]:
        """Open a stream from a coroutine: `async with bus.astream(msg_type, payload) as stream`.

        Parameters are those of `stream`. The stream opens when the block is entered, or with its first operation. The
        bus belongs to the running event loop, as `acall` says.
        """
    def serve(self, spin_threshold: int | None = None, *, timeout: float | None = None) -> RpcRxGuard:
        """Wait for a request and read it in place."""
    def reply(
        self,
        correlation_id: int,
        payload: Buffer,
        msg_type: int,
        max_payload_size: int | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Answer the request that `serve` returned with this correlation id."""
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
    def __aenter__(self) -> Coroutine[Any, Any, Self]: ...
    def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Coroutine[Any, Any, None]: ...

@final
class RpcTxGuard:
    """Room for one request or reply, written in place through `memoryview(guard)`.

    Leaving the `with` block sends the first `actual_size` bytes; leaving it by an exception sends nothing.
    """

    msg_type: int
    """The message type of the request or reply."""
    actual_size: int
    """Bytes to send; all reserved bytes unless set."""
    @property
    def out_cid(self) -> int:
        """The correlation id of the call after it is sent; 0 before that, and for a reply."""
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
        """The correlation id of the call."""
    @property
    def metadata(self) -> Mapping[str, str]:
        """The texts that the caller sent beside a request, as a read-only mapping."""
    @property
    def error_kind(self) -> ErrorKind | None:
        """The kind of failure, if this is an error reply."""
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

    The type hints of its function say the types of request and reply; without hints both are bytes. A type checker sees
    the parameters of the function; one of bytes takes any buffer, and an only parameter of an Array any sequence.
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
        """The message type of its requests and replies."""
    @property
    def idempotent(self) -> bool:
        """Whether the callee may handle a request twice."""
    @property
    def __tachyon_timeout__(self) -> bool:
        """Whether `timeout` is a setting of the endpoint's calls: it has one parameter or none, with another name."""
    def __tachyon_request__(self, within: float | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncRequest:
        """Return the request of a call from a coroutine."""
    def __tachyon_bind__(self, function: Callable[..., Any]) -> RpcEndpoint[..., Any, Any]:
        """Return an endpoint with the same contract, and with another function that serves."""
    def __call__(self, *args: _ParametersT.args, **kwargs: _ParametersT.kwargs) -> _HereT_co: ...
    @overload
    def call(self, bus: RpcBus | BusView, /, *args: _ParametersT.args, **kwargs: _ParametersT.kwargs) -> _ReplyT_co:
        """Call the peer's function with its arguments, and return its reply.

        The timeout of a call on `bus.within(0.5)` travels with the request as a deadline: the handler sees it in
        `current_call()`. The first call of a typed endpoint on a connection compares the endpoint's types with the
        peer's; if they differ, this raises `LayoutMismatchError` and calls nothing.
        """
    @overload
    def call(
        self: _TakesNothing,
        bus: RpcBus | BusView,
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
        bus: RpcBus | BusView,
        payload: None,
        on_response: Callable[[memoryview], _T],
        spin_threshold: int | None = None,
        *,
        timeout: float | None = None,
    ) -> _T:
        """Call the peer's function, which takes nothing, and return the result of `on_response` for the reply."""
    @overload
    def call(
        self: _TakesOne[_TakenT],
        bus: RpcBus | BusView,
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
        bus: RpcBus | BusView,
        payload: _TakenT,
        on_response: Callable[[memoryview], _T],
        spin_threshold: int | None = None,
        *,
        timeout: float | None = None,
    ) -> _T:
        """Call the peer's function and return the result of `on_response` for the reply's bytes, in place."""
    @overload
    def acall(
        self, bus: RpcBus | BusView, /, *args: _ParametersT.args, **kwargs: _ParametersT.kwargs
    ) -> Coroutine[Any, Any, _ReplyT_co]:
        """Call the peer's function from a coroutine, and return its reply.

        Any number of calls may be in flight on one bus, which belongs to the running event loop from the first call on;
        calls wait in a queue while the ring is full. A call that is cancelled or times out is forgotten: the bus stays
        usable, and a late reply is dropped. Arguments are read at once, and may change while the call is in flight.
        Errors are those of `call`.
        """
    @overload
    def acall(
        self: _TakesNothing, bus: RpcBus | BusView, payload: None = None, *, timeout: float | None = None
    ) -> Coroutine[Any, Any, _ReplyT_co]:
        """Call the peer's function, which takes nothing, from a coroutine, and return its reply."""
    @overload
    def acall(
        self: _TakesOne[_TakenT], bus: RpcBus | BusView, payload: _TakenT, *, timeout: float | None = None
    ) -> Coroutine[Any, Any, _ReplyT_co]:
        """Call the peer's function, which takes one value, from a coroutine, and return its reply."""
    @overload
    def stream(  # type: ignore[overload-overlap]
        self: _TwoWay0[_SentT, _GivenT],
        bus: RpcBus | BusView,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> Stream[_GivenT, _SentT, Never]:
        """Open the peer's stream with the arguments of its function.

        The stream is an iterator of the values that the callee yields, and `send` takes the values of the caller's
        items, which are no argument here. `timeout`, in seconds, is for the whole stream, `item_timeout` for each wait;
        the callee may send `window` items ahead. An error that the endpoint declares is raised after the items before
        it.
        """
    @overload
    def stream(  # type: ignore[overload-overlap]
        self: _TwoWay1[_FirstT, _SentT, _GivenT],
        bus: RpcBus | BusView,
        first: _FirstT,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> Stream[_GivenT, _SentT, Never]: ...
    @overload
    def stream(  # type: ignore[overload-overlap]
        self: _TwoWay2[_FirstT, _SecondT, _SentT, _GivenT],
        bus: RpcBus | BusView,
        first: _FirstT,
        second: _SecondT,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> Stream[_GivenT, _SentT, Never]: ...
    @overload
    def stream(
        self: _Uploads0[_SentT],
        bus: RpcBus | BusView,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> Stream[Never, _SentT, _ReplyT_co]: ...
    @overload
    def stream(
        self: _Uploads1[_FirstT, _SentT],
        bus: RpcBus | BusView,
        first: _FirstT,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> Stream[Never, _SentT, _ReplyT_co]: ...
    @overload
    def stream(
        self: _Uploads2[_FirstT, _SecondT, _SentT],
        bus: RpcBus | BusView,
        first: _FirstT,
        second: _SecondT,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> Stream[Never, _SentT, _ReplyT_co]: ...
    @overload
    def stream(
        self: _Streams0[_GivenT],
        bus: RpcBus | BusView,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> Stream[_GivenT, Never, Never]: ...
    @overload
    def stream(
        self: _Streams1[_FirstT, _GivenT],
        bus: RpcBus | BusView,
        first: _FirstT,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> Stream[_GivenT, Never, Never]: ...
    @overload
    def stream(
        self: _Streams2[_FirstT, _SecondT, _GivenT],
        bus: RpcBus | BusView,
        first: _FirstT,
        second: _SecondT,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> Stream[_GivenT, Never, Never]: ...
    @overload
    def stream(
        self: RpcEndpoint[_OwnT, Any, Iterator[_GivenT] | AsyncIterator[_GivenT]],
        bus: RpcBus | BusView,
        /,
        *args: _OwnT.args,
        **kwargs: _OwnT.kwargs,
    ) -> Stream[_GivenT, Never, Never]: ...
    @overload
    def astream(  # type: ignore[overload-overlap]
        self: _TwoWay0[_SentT, _GivenT],
        bus: RpcBus | BusView,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> AsyncStream[_GivenT, _SentT, Never]:
        """Open the peer's stream from a coroutine: `async with endpoint.astream(bus, ...) as stream`.

        Parameters are those of `stream`. The stream opens when the block is entered, or with its first operation. The
        bus belongs to the running event loop, as `acall` says.
        """
    @overload
    def astream(  # type: ignore[overload-overlap]
        self: _TwoWay1[_FirstT, _SentT, _GivenT],
        bus: RpcBus | BusView,
        first: _FirstT,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> AsyncStream[_GivenT, _SentT, Never]: ...
    @overload
    def astream(  # type: ignore[overload-overlap]
        self: _TwoWay2[_FirstT, _SecondT, _SentT, _GivenT],
        bus: RpcBus | BusView,
        first: _FirstT,
        second: _SecondT,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> AsyncStream[_GivenT, _SentT, Never]: ...
    @overload
    def astream(
        self: _Uploads0[_SentT],
        bus: RpcBus | BusView,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> AsyncStream[Never, _SentT, _ReplyT_co]: ...
    @overload
    def astream(
        self: _Uploads1[_FirstT, _SentT],
        bus: RpcBus | BusView,
        first: _FirstT,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> AsyncStream[Never, _SentT, _ReplyT_co]: ...
    @overload
    def astream(
        self: _Uploads2[_FirstT, _SecondT, _SentT],
        bus: RpcBus | BusView,
        first: _FirstT,
        second: _SecondT,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> AsyncStream[Never, _SentT, _ReplyT_co]: ...
    @overload
    def astream(
        self: _Streams0[_GivenT],
        bus: RpcBus | BusView,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> AsyncStream[_GivenT, Never, Never]: ...
    @overload
    def astream(
        self: _Streams1[_FirstT, _GivenT],
        bus: RpcBus | BusView,
        first: _FirstT,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> AsyncStream[_GivenT, Never, Never]: ...
    @overload
    def astream(
        self: _Streams2[_FirstT, _SecondT, _GivenT],
        bus: RpcBus | BusView,
        first: _FirstT,
        second: _SecondT,
        /,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> AsyncStream[_GivenT, Never, Never]: ...
    @overload
    def astream(
        self: RpcEndpoint[_OwnT, Any, Iterator[_GivenT] | AsyncIterator[_GivenT]],
        bus: RpcBus | BusView,
        /,
        *args: _OwnT.args,
        **kwargs: _OwnT.kwargs,
    ) -> AsyncStream[_GivenT, Never, Never]: ...
    @property
    def __tachyon_streams__(self) -> bool:
        """Whether items travel in one of the directions."""
    def __tachyon_astream__(
        self,
        lender: Any,
        within: float | None,
        metadata: Metadata | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> AsyncStream[Any, Any, Any]:
        """Return the stream of a coroutine on a bus that `lender` lends."""
    @classmethod
    def __class_getitem__(cls, item: object) -> GenericAlias: ...

@type_check_only
class _Items(Iterator[_GivenT], AsyncIterator[_GivenT], metaclass=ABCMeta):
    """A subtype of each hint for the caller's items."""

@type_check_only
class _TwoWay0(Protocol[_SentT, _ItemT_co]):
    """A two-way stream without arguments."""

    def __call__(self, items: _Items[_SentT], /) -> Iterator[_ItemT_co] | AsyncIterator[_ItemT_co]: ...

@type_check_only
class _TwoWay1(Protocol[_FirstT_contra, _SentT, _ItemT_co]):
    """A two-way stream with one argument."""

    def __call__(
        self, first: _FirstT_contra, items: _Items[_SentT], /
    ) -> Iterator[_ItemT_co] | AsyncIterator[_ItemT_co]: ...

@type_check_only
class _TwoWay2(Protocol[_FirstT_contra, _SecondT_contra, _SentT, _ItemT_co]):
    """A two-way stream with two arguments."""

    def __call__(
        self, first: _FirstT_contra, second: _SecondT_contra, items: _Items[_SentT], /
    ) -> Iterator[_ItemT_co] | AsyncIterator[_ItemT_co]: ...

@type_check_only
class _Uploads0(Protocol[_SentT]):
    """A client stream without arguments."""

    def __call__(self, items: _Items[_SentT], /) -> object: ...

@type_check_only
class _Uploads1(Protocol[_FirstT_contra, _SentT]):
    """A client stream with one argument."""

    def __call__(self, first: _FirstT_contra, items: _Items[_SentT], /) -> object: ...

@type_check_only
class _Uploads2(Protocol[_FirstT_contra, _SecondT_contra, _SentT]):
    """A client stream with two arguments."""

    def __call__(self, first: _FirstT_contra, second: _SecondT_contra, items: _Items[_SentT], /) -> object: ...

@type_check_only
class _Streams0(Protocol[_ItemT_co]):
    """A server stream without arguments."""

    def __call__(self) -> Iterator[_ItemT_co] | AsyncIterator[_ItemT_co]: ...

@type_check_only
class _Streams1(Protocol[_FirstT_contra, _ItemT_co]):
    """A server stream with one argument."""

    def __call__(self, first: _FirstT_contra, /) -> Iterator[_ItemT_co] | AsyncIterator[_ItemT_co]: ...

@type_check_only
class _Streams2(Protocol[_FirstT_contra, _SecondT_contra, _ItemT_co]):
    """A server stream with two arguments."""

    def __call__(
        self, first: _FirstT_contra, second: _SecondT_contra, /
    ) -> Iterator[_ItemT_co] | AsyncIterator[_ItemT_co]: ...

@type_check_only
class _TakesOne(Protocol[_TakenT_contra]):
    """An endpoint that can be called with one value."""

    def __call__(self, payload: _TakenT_contra, /) -> object: ...

@type_check_only
class _TakesNothing(Protocol):
    """An endpoint that can be called without a value."""

    def __call__(self) -> object: ...

@final
class Stream(Generic[_ItemT_co, _SentT_contra, _EndT_co]):
    """An open stream: an iterator of the callee's items, and the sender of this side's.

    Leaving the `with` block closes the stream, which cancels it at the callee unless it has ended. A stream whose items
    are all taken is closed. Other calls and streams of the bus go on beside it.
    """

    def __iter__(self) -> Self: ...
    def __next__(self) -> _ItemT_co: ...
    def send(self, item: _SentT_contra) -> bool:
        """Send an item, waiting for credit and for room.

        Returns False when the callee has ended the stream, or is gone: the outcome, of `finish` or of the
        next item, says why.

        A callee of a two-way stream may wait until its own items are taken, and take none meanwhile: take them between
        sends, or limit the time of the stream.
        """
    def end(self) -> None:
        """Tell the callee that no further item comes. A second call does nothing."""
    def finish(self) -> _EndT_co:
        """Tell the callee that no further item comes, and wait for its reply.

        For streams of this side's items alone. Items of the callee that were not taken are dropped.
        """
    def close(self) -> None:
        """Close the stream. One that has not ended is cancelled: its handler is told, and its items are dropped."""
    @property
    def closed(self) -> bool:
        """Whether the stream has ended, or was closed."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    __tachyon_on_end__: Callable[[], object]
    @classmethod
    def __class_getitem__(cls, item: object) -> GenericAlias: ...

@final
class BusView:
    """A bus from `RpcBus.within` or `RpcBus.metadata`, with settings for each call."""

    def within(self, seconds: float) -> BusView:
        """Return the bus with these settings, and with a timeout for each call in place of the view's."""
    def metadata(self, key: str, value: str) -> BusView:
        """Return the bus with these settings, and with one entry of metadata more for each call."""
    def start(self, payload: Buffer, msg_type: int) -> int:
        """Send a request with these settings, as `RpcBus.start` does, and return its correlation id."""
    def stream(
        self,
        msg_type: int,
        payload: Buffer = ...,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> Stream[bytes, Buffer, bytes]:
        """Open a stream with these settings, as `RpcBus.stream` does.

        Of a `timeout` and the view's, the shorter one counts.
        """
    def astream(
        self,
        msg_type: int,
        payload: Buffer = ...,
        *,
        timeout: float | None = None,
        item_timeout: float | None = None,
        window: int | None = None,
    ) -> AsyncStream[bytes, Buffer, bytes]:
        """Open a stream from a coroutine with these settings, as `RpcBus.astream` does."""

@final
class Metadata:
    """The metadata of calls. An object never changes: a new entry makes a new object."""

    def __new__(cls, key: str, value: str, before: Metadata | None = None) -> Self: ...
    def mapping(self) -> Mapping[str, str]:
        """Return the entries, as a read-only mapping."""
    def message(self, payload: bytes) -> bytes:
        """Return the message of a request with this metadata."""

@final
class AsyncRequest:
    """The request of a coroutine."""

    @property
    def payload(self) -> bytes:
        """The bytes of the request."""
    @property
    def msg_type(self) -> int:
        """The endpoint's message type."""
    @property
    def name(self) -> str:
        """The endpoint's name."""
    @property
    def timeout(self) -> float | None:
        """The seconds that the call may take."""
    @property
    def contract(self) -> Contract | None:
        """The types of the endpoint; None for bytes in and out."""

@final
class RustEndpoint:
    """An endpoint that an extension in Rust exported with `tachyon::python::export`.

    `RpcDispatcher.register` puts it into the same table as endpoints in Python. It runs on the serving thread, without
    the GIL.
    """

    __name__: str
    __qualname__: str
    def __new__(cls, capsule: CapsuleType, /) -> Self: ...
    @property
    def msg_type(self) -> int:
        """The message type of its requests and replies."""

@type_check_only
class _Decorator(Protocol):
    """Turns a function into an endpoint with the types of its hints."""

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
    # A method of a Service stays a method: the overload below it would make an endpoint of it.
    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]
        self, function: Callable[Concatenate[_ServiceT, _OwnT], _GivenT], /
    ) -> Callable[Concatenate[_ServiceT, _OwnT], _GivenT]: ...
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
    def register(self, endpoint: RpcEndpoint[..., Any, Any] | RustEndpoint | Service) -> Self:
        """Add an endpoint, or all endpoints of an object that implements a `Service`; return the dispatcher.

        Endpoints that an extension in Rust exported go into the same table; see `RustEndpoint`.
        """
    def layer(self, layer: BeforeCall | AfterCall) -> Self:
        """Add a layer, which sees each request before and after its handler, and may refuse it; return the dispatcher.

        `tachyon.layers.Layer` has the methods of a layer. Layers run in the order of their addition, and see endpoints
        in Rust too: with a layer, each request takes the GIL. They do not see `describe` and `ping`.
        """
    def handler(
        self,
        msg_type: int,
        *,
        idempotent: bool = False,
        raises: _Raises = None,
        codec: Literal["msgpack"] | None = None,
    ) -> _Decorator:
        """Do what `tachyon_rpc` does, and register the endpoint."""
    def serve_once(self, bus: RpcBus, spin_threshold: int | None = None, *, timeout: float | None = None) -> None:
        """Wait for one request, run its handler and reply.

        The caller always gets an answer. After an error reply this raises `NoHandlerError` (a `KeyError`) or
        `HandlerError` (a `RuntimeError`) here as well.
        """
    def serve_forever(
        self,
        bus: RpcBus | RpcServer,
        spin_threshold: int | None = None,
        *,
        workers: int = 1,
        stop_on: Iterable[int] | None = None,
    ) -> None:
        """Serve a bus until its peer closes, or the callers of a server until it is stopped.

        Failing handlers are logged, with traceback, on the logger `tachyon`. `KeyboardInterrupt`, and on a bus
        `PeerDeadError`, end the serving and propagate; a server finishes the calls in flight first. With several
        `workers` the callers of a server are shared among as many threads, this thread among them, and handlers of
        different callers run in parallel as far as the GIL allows.

        Endpoints in Rust are served even while other threads hold the GIL: a separate thread serves and runs Python
        handlers too, while this thread handles signals and the log.

        The signals of `stop_on`, such as `(signal.SIGTERM, signal.SIGINT)`, stop a server as `stop` does, and the call
        returns. Their handlers are those from before again when the call ends, and the handler of `SIGINT` is so from
        the first signal on: a second Ctrl-C interrupts a handler that hangs. Only the main thread may pass `stop_on`.
        """
    def aserve(
        self, bus: RpcBus | RpcServer, *, concurrency: int = 100, stop_on: Iterable[int] | None = None
    ) -> Coroutine[Any, Any, None]:
        """Serve a bus until its peer closes, or the callers of a server until it is stopped, from a coroutine.

        Handlers that are coroutine functions run as tasks, up to `concurrency` at a time; other handlers run between
        them and block the loop. Cancelling this also cancels handlers that still run, and their callers get an error
        reply of kind `CANCELLED`. The bus is closed afterwards. `stop_on` is as in `serve_forever`.
        """
    def __len__(self) -> int: ...
    def __contains__(self, msg_type: int, /) -> bool: ...

@final
class RpcServer:
    """The serving end of RPC for many callers, at one path.

    Every caller that connects gets a pair of rings, and callers come, go and crash without an effect on others.
    `dispatcher.serve_forever(server)` serves them until `stop`. The rings have `forward` payload bytes for requests and
    `reverse` for replies (powers of two); a caller may request more, up to `max_forward` and `max_reverse`. A caller
    beyond `max_callers` gets `ServerBusyError`. A client that does not finish its handshake within `handshake_timeout`
    seconds is dropped. A server that stops waits up to `stop_timeout` seconds for handlers that run and for callers to
    take their last replies. One process may be `callers_per_process` of the `max_callers`. The rings of all callers
    together take at most `ring_bytes`: a caller that requests more than is left gets smaller rings, or
    `ServerBusyError`. Other users than this process's are refused unless `any_uid` is set. `polling` says how long the
    serving threads look at a silent caller before they sleep: `"adaptive"`, `"spin"` or `"park"`.

    While the server is served, an acceptor thread admits callers, so that they connect even while handlers run for
    long. With `acceptor="inline"` the serving thread or loop admits them, for a process that must have one thread, such
    as one that forks.

    Callers that connect and disconnect, and rejected clients, are reported on the logger `tachyon`.
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
        polling: Polling = "adaptive",
    ) -> Self: ...
    @property
    def __tachyon_serving__(self) -> bool:
        """Whether a thread or an event loop serves."""
    @property
    def path(self) -> Path:
        """The socket path."""
    @property
    def callers(self) -> int:
        """The number of connected callers."""
    @property
    def closed(self) -> bool:
        """Whether the server has stopped and its path is free."""
    def stop(self) -> None:
        """Stop the server, from any thread or from a handler; return at once.

        Requests being handled are answered, queued requests get an error reply of kind `STOPPING`, connections are
        closed in good order, and `serve_forever` returns.
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
    def __aenter__(self) -> Coroutine[Any, Any, Self]: ...
    def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Coroutine[Any, Any, None]: ...

@final
class CurrentCall:
    """The request that a handler handles, or that a layer sees."""

    @property
    def msg_type(self) -> int:
        """The endpoint's message type."""
    @property
    def name(self) -> str:
        """The endpoint's name; empty for a layer when no endpoint has the message type."""
    @property
    def request_size(self) -> int:
        """Bytes of the request, without the metadata."""
    @property
    def metadata(self) -> Mapping[str, str]:
        """The texts that the caller sent beside the request, as a read-only mapping."""
    @property
    def correlation_id(self) -> int:
        """The call's number, which its caller counts up from 1."""
    @property
    def caller_id(self) -> int:
        """The caller's number, from 1 up; a server never reuses one. The only caller of a bus is 1."""
    @property
    def caller_pid(self) -> int | None:
        """The caller's process id; None where it is not visible from this process."""
    @property
    def caller_uid(self) -> int | None:
        """The caller's user id; None where this process's user namespace does not map it."""
    @property
    def deadline(self) -> float | None:
        """The `time.monotonic()` at which the caller stops waiting; None when it set no timeout."""
    @property
    def remaining(self) -> float | None:
        """The seconds until the caller stops waiting, 0.0 after that; None when it set no timeout."""
    def is_cancelled(self) -> bool:
        """Whether the caller cancelled the call, closed, died, or timed out.

        A plain handler that runs for long asks this now and then, and ends early. A coroutine function need not: its
        task is cancelled.
        """

@final
class Attempts:
    """The attempts at one call of an event loop, by the core's rule; `acall` uses it."""

    def __new__(cls, reconnects: bool, idempotent: bool, seconds: float | None) -> Self: ...
    @property
    def may_have_begun(self) -> bool:
        """Whether an earlier attempt may have begun."""
    def again(self, error: BaseException) -> bool:
        """Return whether a call that ended in this error is repeated, once the connection has ended."""

@final
class Comparison:
    """The comparison of a typed endpoint with the callee's, before the first request; `acall` uses it."""

    def __new__(cls, json: str) -> Self: ...
    def take(self, answer: bytes | RpcError) -> bool:
        """Take the answer to a question; False when another question is due."""

@final
class LoopCalls:
    """The event loop's handle of a bus that it calls on. It keeps no part of the bus alive; `acall` uses it."""

    def __new__(cls, bus: RpcBus) -> Self: ...
    @property
    def reconnects(self) -> bool:
        """Whether the bus reconnects after its connection has ended."""
    def fileno(self) -> int:
        """Return the descriptor to watch: readable when `receive` has work."""
    def send(self, bus: RpcBus, payload: bytes, type_id: int, timeout: float | None) -> int:
        """Send a request and return its correlation id; 0 when the ring is full."""
    def ask(self, bus: RpcBus, comparison: Comparison, timeout: float | None) -> int:
        """Send the next question of a comparison and return its correlation id; 0 when the ring is full."""
    def open(self, bus: RpcBus, payload: bytes, type_id: int, timeout: float | None, window: int | None) -> int | None:
        """Open a stream and return its correlation id; 0 when the ring is full, None when it waits for a place."""
    def take_item(self, bus: RpcBus, correlation_id: int, contract: Contract | None) -> bytes | bool | None:
        """Take the next item of a stream; None when there is none, False after the last one, True before a reply."""
    def take_last(self, bus: RpcBus, correlation_id: int, contract: Contract | None) -> bytes | None:
        """Take the reply that ends a stream; None when there is none yet."""
    def send_item(
        self, bus: RpcBus, correlation_id: int, item: bytes | None
    ) -> Literal["sent", "ended", "credit", "room"]:
        """Send an item, END for None; say that the callee takes nothing more, or what there is none of."""
    def receive(
        self,
        bus: RpcBus,
        into: list[tuple[int, bytes | RpcError | None]],
        armed: bool,
        room: int | None,
    ) -> bool | None:
        """Append the replies that have come; return whether more may be there already, None if `armed` before."""
    def forget(self, bus: RpcBus, correlation_id: int, cancel: bool) -> bool:
        """Give a call up; return whether its cancellation waits for room."""
    @staticmethod
    def release(bus: RpcBus) -> None:
        """End the loop's ownership of the bus."""

@final
class LoopConnecting:
    """The connect of a bus, in steps that never wait; `aconnect` and a pool's `acall` use it."""

    def __new__(
        cls,
        socket_path: _Path,
        *,
        timeout: float | None,
        any_uid: bool,
        ring_sizes: tuple[int, int] | None,
        reconnect: bool,
        probe: bool,
        polling: Polling,
    ) -> Self: ...
    def step(self) -> RpcBus | tuple[int, float]:
        """Take the next step; return the bus when it is connected, otherwise a descriptor or -1, and seconds."""
    def close(self) -> None:
        """End the attempt, which hangs up."""

@final
class LoopReconnecting:
    """The reconnect of a bus, in steps that never wait; `acall` uses it."""

    def __new__(cls, bus: RpcBus) -> Self: ...
    def step(self, bus: RpcBus) -> tuple[int, float] | None:
        """Take the next step; return None when the bus is connected, otherwise a descriptor or -1, and seconds."""
    def missing(self) -> TachyonError | None:
        """Return the error of a call that times out while no process listens."""

@final
class PoolPlaces:
    """The places of a pool, its idle buses, and the queue of requests."""

    def __new__(cls, max_size: int) -> Self: ...
    def take(self, timeout: float | None) -> PoolLease:
        """Take a place, waiting up to `timeout` seconds for it (None: for ever)."""
    def request(self) -> PoolLease:
        """Request a place from a coroutine, which polls the returned lease."""
    def exhausted(self) -> TimedOutError:
        """Return the error for a request that timed out."""
    def close(self) -> None:
        """End all requests, and close the idle buses. A bus in use is closed when it comes back."""
    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
    def __len__(self) -> int: ...

@final
class PoolLease:
    """A place of a pool: requested, held, or given back."""

    def poll(self, wake: Callable[[], None]) -> bool:
        """Return whether the place is held. If not, `wake` is called once it is, from any thread."""
    def idle(self) -> RpcBus | None:
        """Return an idle bus that is fit for use, or None: a new one may connect. Close idle buses that are not fit."""
    def give_back(self, bus: RpcBus) -> None:
        """Give the place back with its bus; a bus that is not fit for reuse is closed."""
    def leave(self) -> None:
        """Give the place back without a bus, or drop the request."""

@final
class LoopServing:
    """The event loop's handle of a server or a bus that it serves; `aserve` uses it."""

    def __new__(cls, dispatcher: RpcDispatcher, target: RpcBus | RpcServer) -> Self: ...
    @property
    def stop_timeout(self) -> float:
        """The seconds that a stopping server waits for callers to take their last replies."""
    @property
    def overran(self) -> int:
        """The number of plain handlers that returned after the stop timeout."""
    def fileno(self) -> int:
        """Return the descriptor to watch: readable when a turn is due; -1 after the end."""
    def turn(self, into: list[LoopRequest | LoopStream], cancelled: list[tuple[int, int]], places: int) -> float | None:
        """Take a turn: append at most `places` requests and streams to `into`, and cancelled keys to `cancelled`.

        Returns the seconds until the next turn, None to wait for the descriptor, or a negative number after the end of
        the serving.
        """
    def woken(self) -> list[tuple[int, int]]:
        """Return the keys of streams whose handlers can go on, and forget them."""
    def answer(self, request: LoopRequest, response: object) -> None:
        """Answer a request with the result of its handler."""
    def fail(self, request: LoopRequest, cause: BaseException) -> None:
        """Answer a request with the exception of its handler."""
    def refuse(self, request: LoopRequest) -> None:
        """Answer a request whose handler was not run to its end."""
    def refuse_all(self, cancelled: list[tuple[int, int]]) -> bool:
        """Refuse requests that have not begun; False when a caller has no room for now."""
    def abandon(self, cancelled: list[tuple[int, int]]) -> None:
        """Send error replies of kind `CANCELLED` to requests that have begun and are not answered."""
    def close(self) -> None:
        """Close every connection in good order, and free the path."""

@final
class LoopStream:
    """A stream whose handler is a task of the event loop. No method waits."""

    @property
    def call(self) -> CurrentCall:
        """The handler's `current_call()`."""
    @property
    def key(self) -> tuple[int, int]:
        """The caller's number, and the correlation id."""
    @property
    def name(self) -> str:
        """The endpoint's name."""
    @property
    def takes_items(self) -> bool:
        """Whether the handler takes the caller's items."""
    @property
    def streams(self) -> bool:
        """Whether the handler answers with items."""
    def start(self, items: object, /) -> Any:
        """Call the handler with the caller's items, which makes its coroutine or its iterator."""
    def take(self) -> tuple[Any] | None:
        """Take the next item of the caller; None when there is none so far.

        Raises `StopAsyncIteration` after the last one, and `StreamCancelledError` when the stream is over before.
        """
    def encode(self, item: object) -> bytes:
        """Encode an item."""
    def send(self, item: bytes) -> bool:
        """Send an encoded item; False when it has to be sent later. Raises `StreamCancelledError` after the end."""
    def finish(self, reply: object) -> None:
        """End the stream with the value of its reply, or after its last item."""
    def fail(self, cause: BaseException) -> None:
        """End the stream with the exception of its handler."""
    def is_over(self) -> bool:
        """Whether the stream is over. If not, a later end notes the key of the stream."""
    def close(self) -> None:
        """Drop the items of the caller: the handler has returned."""

@final
class RequestItems:
    """The items that the caller of a stream sends, for a handler on a thread of its own."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...

@final
class LoopRequest:
    """A request for a coroutine function."""

    @property
    def call(self) -> CurrentCall:
        """The handler's `current_call()`."""
    @property
    def key(self) -> tuple[int, int]:
        """The caller's number, and the correlation id."""
    def cancel(self) -> None:
        """Mark the call as cancelled."""
    def start(self) -> Coroutine[Any, Any, bytes]:
        """Call the handler, which makes its coroutine."""

def live_servers() -> list[tuple[int, Path, float]]:
    """Return process id, path and start (seconds since 1970) of each live server of this user."""

def ping(path: _Path, timeout: float) -> float:
    """Time one round trip, in seconds."""

@final
class StatsObserver:
    """The statistics of one server."""

    def __new__(cls, path: _Path) -> Self: ...
    def counts(self) -> StatsCounts:
        """Read the counters."""
    def is_live(self) -> bool:
        """Whether the server still lives."""

@final
class StatsCounts:
    """The counters of one server at one moment."""

    def totals(self) -> dict[str, Any]:
        """Return the fields of a `Snapshot`."""
    def since(self, earlier: StatsCounts) -> dict[str, Any]:
        """Return the fields of an `Interval` since an earlier moment."""
