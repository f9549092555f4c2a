"""A program for callgrind: make a number of operations of the Python package, as `benches/callgrind` does for Rust.

count_python.py OPERATION COUNT
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from tachyon import Bus, RpcBus, RpcDispatcher, RpcEndpoint, f64, tachyon_rpc, u32, u64

CAPACITY = 1 << 16
PAYLOAD = bytes(32)
TRIES = 20

T = TypeVar("T")


@tachyon_rpc(msg_type=1)
def echo(payload: memoryview) -> bytes:
    """Return the payload."""
    return payload.tobytes()


@tachyon_rpc(msg_type=2)
def echo_bytes(payload: bytes) -> bytes:
    """Return the payload, which is a copy in `bytes`."""
    return payload


@tachyon_rpc(msg_type=3)
def middle(first: u64, second: f64, third: u32) -> f64:
    """Return one of three numbers."""
    del first, third
    return second


def ends(listen: Callable[[Path], T], connect: Callable[[Path], T]) -> tuple[T, T]:
    """Return the listening and the connecting end of a connection in this process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "count.sock")
        listening: list[T] = []
        # A daemon: the thread does not outlive a failed connect.
        thread = Thread(target=lambda: listening.append(listen(path)), daemon=True)
        thread.start()
        connecting = connected(connect, path)
        thread.join()
    return listening[0], connecting


def connected(connect: Callable[[Path], T], path: Path) -> T:
    """Connect. Try again if the listener gave up on this slow process."""
    for _ in range(TRIES - 1):
        try:
            return connect(path)
        except ConnectionError:
            continue
    return connect(path)


def round_trips(count: int, endpoint: RpcEndpoint[..., Any] = echo) -> None:
    """Request, dispatch to a Python function, reply: both sides alternate in one thread."""
    callee, caller = ends(lambda path: RpcBus.listen(path, CAPACITY, CAPACITY), RpcBus.connect)
    dispatcher = RpcDispatcher().register(endpoint)
    msg_type = endpoint.msg_type
    for _ in range(count):
        call = caller.call(PAYLOAD, msg_type)
        dispatcher.serve_once(callee)
        with caller.wait(call) as reply, memoryview(reply) as view:
            view.tobytes()


def round_trips_of_bytes(count: int) -> None:
    """Call a function whose parameter has the type `bytes`."""
    round_trips(count, echo_bytes)


def calls(count: int, endpoint: RpcEndpoint[..., Any] = echo) -> None:
    """Call by the decorator, with the callee in another thread; both sides park at once, and so alternate."""
    callee, caller = ends(lambda path: RpcBus.listen(path, CAPACITY, CAPACITY), RpcBus.connect)
    serving = Thread(target=RpcDispatcher().register(endpoint).serve_forever, args=(callee, 0))
    serving.start()
    for _ in range(count):
        endpoint.call(caller, PAYLOAD, None, 0)
    caller.close()
    serving.join()


def calls_with_arguments(count: int) -> None:
    """Call with three numbers, which both sides read and write by a plan."""
    callee, caller = ends(lambda path: RpcBus.listen(path, CAPACITY, CAPACITY), RpcBus.connect)
    caller.set_polling_mode(0)
    serving = Thread(target=RpcDispatcher().register(middle).serve_forever, args=(callee, 0))
    serving.start()
    for number in range(count):
        middle.call(caller, number, 0.5, 7)
    caller.close()
    serving.join()


def calls_of_bytes(count: int) -> None:
    """Call a function whose parameter has the type `bytes`."""
    calls(count, echo_bytes)


def one_way(count: int) -> None:
    """Send a copy and receive one."""
    receiver, sender = ends(lambda path: Bus.listen(path, CAPACITY), Bus.connect)
    for _ in range(count):
        sender.send(PAYLOAD, 1)
        _ = next(receiver).data


OPERATIONS: dict[str, Callable[[int], None]] = {
    "python-round-trip": round_trips,
    "python-bytes": round_trips_of_bytes,
    "python-call": calls,
    "python-call-bytes": calls_of_bytes,
    "python-call-arguments": calls_with_arguments,
    "python-one-way": one_way,
}

if __name__ == "__main__":
    operation, count = sys.argv[1:]
    OPERATIONS[operation](int(count))
