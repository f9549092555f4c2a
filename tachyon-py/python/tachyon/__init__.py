"""Call functions in another process on the same machine through shared memory.

Install as `tachyon-ipc`, import as `tachyon`. A one-way `Bus` carries messages, an `RpcBus` carries calls;
`tachyon_rpc` binds a function to a message type and `RpcDispatcher` serves it, on a bus or for the callers of an
`RpcServer`. The peer may also be written in Rust. `tachyon.errors` has every exception; the common ones are here too.
`tachyon.stats` has the statistics of servers.
"""

from tachyon import errors, layers, stats
from tachyon._array import Array
from tachyon._context import current_call
from tachyon._declared import EndpointError
from tachyon._description import CalleeLimits, Description
from tachyon._hints import IntEnum, bool, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64  # noqa: A004
from tachyon._pool import Pool
from tachyon._service import Service, awaited, blocking
from tachyon._streams import AsyncStream
from tachyon._struct import Struct, pad
from tachyon._tachyon import (
    MSG_TYPE_ERROR,
    Bus,
    CurrentCall,
    Message,
    RpcBus,
    RpcDispatcher,
    RpcEndpoint,
    RpcRxGuard,
    RpcServer,
    RpcTxGuard,
    RustEndpoint,
    RxBatchGuard,
    RxGuard,
    RxMsgView,
    Stream,
    TxGuard,
    __version__,
    _decode_error,  # pyright: ignore[reportPrivateUsage]  # part of the API, under the name older callers know
    make_type_id,
    msg_type,
    route_id,
    tachyon_rpc,
)
from tachyon.errors import (
    BadRequestError,
    BusClosedError,
    ErrorKind,
    HandlerError,
    LayoutMismatchError,
    NoHandlerError,
    NoListenerError,
    PeerClosedError,
    PeerDeadError,
    RpcError,
    ServerBusyError,
    TachyonError,
    TimedOutError,
)

__all__ = [
    "MSG_TYPE_ERROR",
    "Array",
    "AsyncStream",
    "BadRequestError",
    "Bus",
    "BusClosedError",
    "CalleeLimits",
    "CurrentCall",
    "Description",
    "EndpointError",
    "ErrorKind",
    "HandlerError",
    "IntEnum",
    "LayoutMismatchError",
    "Message",
    "NoHandlerError",
    "NoListenerError",
    "PeerClosedError",
    "PeerDeadError",
    "Pool",
    "RpcBus",
    "RpcDispatcher",
    "RpcEndpoint",
    "RpcError",
    "RpcRxGuard",
    "RpcServer",
    "RpcTxGuard",
    "RustEndpoint",
    "RxBatchGuard",
    "RxGuard",
    "RxMsgView",
    "ServerBusyError",
    "Service",
    "Stream",
    "Struct",
    "TachyonError",
    "TimedOutError",
    "TxGuard",
    "__version__",
    "_decode_error",
    "awaited",
    "blocking",
    "bool",
    "current_call",
    "errors",
    "f32",
    "f64",
    "i8",
    "i16",
    "i32",
    "i64",
    "layers",
    "make_type_id",
    "msg_type",
    "pad",
    "route_id",
    "stats",
    "tachyon_rpc",
    "u8",
    "u16",
    "u32",
    "u64",
]
