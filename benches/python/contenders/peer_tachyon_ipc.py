"""One side of one contender: the package tachyon-ipc 0.5.1, used as in its documentation.

Its import name is that of Tachyon's package, so it has a separate environment.

peer_tachyon_ipc.py SIDE PATH CAPACITY HOW
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

from rounds import PATIENCE, drive_asks, drive_sink, drive_source, ready_for_good

import tachyon
from tachyon import RpcBus, RpcDispatcher, TachyonError, tachyon_rpc

BATCH = 64


@tachyon_rpc(msg_type=1)
def echo(payload: memoryview) -> bytes:
    """Return the payload."""
    return payload.tobytes()


def connected(connect: Callable[[str], Any], path: str) -> Any:  # noqa: ANN401
    """Connect. Try again, because the package cannot wait for a listener."""
    begin = time.monotonic()
    while True:
        try:
            return connect(path)
        except (TachyonError, OSError):
            if time.monotonic() - begin > PATIENCE:
                raise
            time.sleep(0.01)


def caller(path: str, _capacity: int, _how: str) -> None:
    """Call by the decorator's `call`."""
    with connected(RpcBus.rpc_connect, path) as bus:
        drive_asks(lambda asked: partial(echo.call, bus, asked))


def callee(path: str, capacity: int, _how: str) -> None:
    """Serve for ever."""
    with RpcBus.rpc_listen(path, capacity, capacity) as bus:
        ready_for_good()
        RpcDispatcher().register(echo).serve_forever(bus)


def sender(path: str, _capacity: int, how: str) -> None:
    """Send copies, or write in place."""
    with connected(tachyon.Bus.connect, path) as bus:

        def copies(payload: bytes, count: int) -> None:
            send = bus.send
            for _ in range(count):
                while True:
                    try:
                        send(payload, 1)
                    except TachyonError:  # no room: the package does not wait
                        continue
                    break

        def in_place(payload: bytes, count: int) -> None:
            size = len(payload)
            for _ in range(count):
                while True:
                    try:
                        with bus.send_zero_copy(size, 1) as slot:
                            with memoryview(slot) as view:
                                view[:] = payload
                            slot.actual_size = size
                    except TachyonError:
                        continue
                    break

        drive_source(in_place if how == "zero-copy" else copies)


def receiver(path: str, capacity: int, how: str) -> None:
    """Receive copies by iteration, views by batches, or one view at a time."""
    with tachyon.Bus.listen(path, capacity) as bus:
        messages = iter(bus)

        def copies(count: int) -> None:
            for message in islice(messages, count):
                _ = message.data

        def batches(count: int) -> None:
            while count:
                with bus.drain_batch(min(BATCH, count)) as batch:
                    for message in batch:
                        _ = message.actual_size
                    count -= len(batch)

        def in_place(count: int) -> None:
            receive = bus.recv_zero_copy
            for _ in range(count):
                with receive() as message, memoryview(message) as view:
                    _ = view[0]

        drive_sink({"iterate": copies, "batch": batches, "zero-copy": in_place}[how])


SIDES = {"caller": caller, "callee": callee, "sender": sender, "receiver": receiver}

if __name__ == "__main__":
    side, path, capacity, how = sys.argv[1:]
    SIDES[side](path, int(capacity), how)
