"""One side of one contender: Tachyon's Python package, used as in its README.

ours.py SIDE PATH CAPACITY HOW
"""

import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice

from rounds import asked_items, drive_answers, drive_asks, drive_items, drive_sink, drive_source, ready_for_good

import tachyon
from tachyon import RpcBus, RpcDispatcher, tachyon_rpc

BATCH = 64


@tachyon_rpc(msg_type=1)
def echo(payload: memoryview) -> bytes:
    """Return the payload."""
    return payload.tobytes()


def caller(path: str, _capacity: int, how: str) -> None:
    """Call by the decorator's `call`."""
    with RpcBus.connect(path, timeout=10) as bus:
        bus.set_polling_mode(int(how == "spin"))
        drive_asks(lambda asked: partial(echo.call, bus, asked))


def callee(path: str, capacity: int, how: str) -> None:
    """Serve for ever; in pure spin serve the calls of each round, to leave the core free between rounds."""
    with RpcBus.listen(path, capacity, capacity) as bus:
        dispatcher = RpcDispatcher().register(echo)
        if how == "spin":
            bus.set_polling_mode(1)
            drive_answers(partial(dispatcher.serve_once, bus))
        else:
            ready_for_good()
            dispatcher.serve_forever(bus)


@tachyon_rpc(msg_type=2)
def items(asked: bytes) -> Iterator[bytes]:
    """Return as many items as are asked for."""
    return asked_items(asked)


def stream_caller(path: str, _capacity: int, _how: str) -> None:
    """Take the items of a stream."""
    with RpcBus.connect(path, timeout=10) as bus:
        drive_items(lambda asked: items.stream(bus, asked))


def stream_callee(path: str, capacity: int, _how: str) -> None:
    """Serve for ever."""
    with RpcBus.listen(path, capacity, capacity) as bus:
        ready_for_good()
        RpcDispatcher().register(items).serve_forever(bus)


def sender(path: str, _capacity: int, how: str) -> None:
    """Send copies, or write in place."""
    with tachyon.Bus.connect(path, timeout=10) as bus:

        def copies(payload: bytes, count: int) -> None:
            send = bus.send
            for _ in range(count):
                send(payload, 1)

        def in_place(payload: bytes, count: int) -> None:
            size = len(payload)
            reserve = bus.send_zero_copy
            for _ in range(count):
                with reserve(size, 1) as slot, memoryview(slot) as view:
                    view[:] = payload

        drive_source(in_place if how == "zero-copy" else copies)


def receiver(path: str, capacity: int, how: str) -> None:
    """Receive copies by iteration, views by batches, or one view at a time."""
    with tachyon.Bus.listen(path, capacity) as bus:

        def copies(count: int) -> None:
            for message in islice(bus, count):
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


SIDES = {
    "caller": caller,
    "callee": callee,
    "stream-caller": stream_caller,
    "stream-callee": stream_callee,
    "sender": sender,
    "receiver": receiver,
}

if __name__ == "__main__":
    side, path, capacity, how = sys.argv[1:]
    SIDES[side](path, int(capacity), how)
