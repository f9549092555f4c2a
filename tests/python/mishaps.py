"""A callee whose handlers fail in every way: the twin of the Rust program `mishaps`, with Python's own mishaps.

`mishaps.py bus|server|workers|async|async_bus SOCKET` serves. Handlers and forked children write their errors to
SOCKET.note.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
import sys
import time
import warnings
from pathlib import Path

import tachyon
from tachyon import RpcBus, RpcDispatcher, RpcServer, tachyon_rpc

RING = 4096

form, path = sys.argv[1:]
dispatcher = RpcDispatcher()
kept: list[object] = []
served: RpcBus | RpcServer
parent = os.getpid()


def note(*words: object) -> None:
    with Path(path).with_suffix(".note").open("a") as file:
        print(*words, file=file)


def outcome(operation) -> str:
    try:
        operation()
    except BaseException as error:
        return type(error).__name__
    return "nothing"


def bus_operations() -> list:
    if isinstance(served, RpcServer):
        return [lambda: dispatcher.serve_forever(served)]
    return [
        lambda: served.serve(timeout=0),
        lambda: served.reply(1, b"", 1),
        lambda: served.call(b"", 1),
        lambda: dispatcher.serve_once(served, timeout=0),
        lambda: RpcDispatcher().serve_once(served, timeout=0),
    ]


class Odd(BaseException):
    """Neither an `Exception` nor a `SystemExit`."""


@dispatcher.handler(msg_type=1)
def echo(payload):
    return payload.tobytes()


@dispatcher.handler(msg_type=2)
def fails(payload):
    raise ValueError("on purpose")


@dispatcher.handler(msg_type=3)
def recurses(payload):
    return recurses(payload)


@dispatcher.handler(msg_type=4)
def huge(payload):
    return bytes(1 << 20)


@dispatcher.handler(msg_type=5)
def exits(payload):
    os._exit(0)


@dispatcher.handler(msg_type=6)
def sleeps(payload):
    time.sleep(struct.unpack("<Q", payload)[0] / 1000)
    return payload.tobytes()


@dispatcher.handler(msg_type=8)
def forks(payload):
    what = payload.tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the process has threads
        child = os.fork()
    if child == 0:
        if what == b"exits":
            os._exit(0)
        if what == b"touches":
            note(*(outcome(operation) for operation in bus_operations()))
            os._exit(0)
        return b"child"
    if what != b"runs":
        os.waitpid(child, 0)
    return b"parent"


@dispatcher.handler(msg_type=10)
def returns_none(payload):
    return None


@dispatcher.handler(msg_type=11)
def returns_text(payload):
    return "text"


@dispatcher.handler(msg_type=12)
def keeps(payload):
    kept.append(payload[1:])
    return b""


@dispatcher.handler(msg_type=13)
def meddles(payload):
    """Use the bus of the handler, and change its dispatcher."""
    late = tachyon_rpc(99)(len)
    changes = [lambda: dispatcher.register(late), lambda: dispatcher.handler(98)(len)]
    note(*(outcome(operation) for operation in bus_operations() + changes))
    return b"meddled"


@dispatcher.handler(msg_type=14)
def replaces(payload):
    """Bind the global name to another dispatcher: the serving goes on with the first dispatcher."""
    global dispatcher  # noqa: PLW0603  # that is what it is about
    dispatcher = RpcDispatcher()
    return b"replaced"


@dispatcher.handler(msg_type=15)
def scattered(payload):
    return memoryview(bytes(100))[::2]


@dispatcher.handler(msg_type=16)
def odd(payload):
    raise Odd


@dispatcher.handler(msg_type=17)
def exits_politely(payload):
    raise SystemExit(0)


@dispatcher.handler(msg_type=18)
def interrupted(payload):
    raise KeyboardInterrupt


@dispatcher.handler(msg_type=19)
def closes(payload):
    served.close()
    return b"closed"


@dispatcher.handler(msg_type=20)
def changes_its_answer(payload):
    """Return a buffer whose owner gives another answer each time."""

    class Moody:
        asked = 0

        def __buffer__(self, flags):
            Moody.asked += 1
            if Moody.asked > 1:
                raise BufferError("not again")
            return memoryview(b"once")

    return Moody()


def register_coroutines() -> None:
    @dispatcher.handler(msg_type=30)
    async def fails_later(payload):
        await asyncio.sleep(0)
        raise ValueError("on purpose")

    @dispatcher.handler(msg_type=31)
    async def none_later(payload):
        await asyncio.sleep(0)

    @dispatcher.handler(msg_type=32)
    async def huge_later(payload):
        await asyncio.sleep(0)
        return bytes(1 << 20)

    @dispatcher.handler(msg_type=33)
    async def cancels_itself(payload):
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    @dispatcher.handler(msg_type=34)
    async def keeps_later(payload):
        kept.append(payload[1:])
        return b"a copy"

    @dispatcher.handler(msg_type=35)
    async def exits_politely_later(payload):
        await asyncio.sleep(0)
        raise SystemExit(0)


def serve() -> None:
    serving = dispatcher
    if form in ("bus", "server", "workers"):
        if form == "workers":
            serving.serve_forever(served, workers=3)
        else:
            serving.serve_forever(served)
        return
    register_coroutines()
    asyncio.run(aserve(serving))


async def aserve(serving) -> None:
    try:
        await serving.aserve(served)
    except tachyon.TachyonError as error:
        # A forked child shares the loop of its parent, and must not close it.
        end_child(error)
        raise


def end_child(error: BaseException) -> None:
    if os.getpid() != parent:
        note(type(error).__name__, *(outcome(operation) for operation in bus_operations()))
        os._exit(0)


def main() -> None:
    global served  # noqa: PLW0603  # handlers use it
    logging.disable()
    rings = {"forward": RING, "reverse": RING}
    served = RpcBus.listen(path, RING, RING) if form.endswith("bus") else RpcServer(path, **rings)
    try:
        with served:
            serve()
    except KeyboardInterrupt:
        note("KeyboardInterrupt")
    except tachyon.TachyonError as error:
        end_child(error)
        note(type(error).__name__)
    except Odd:
        note("Odd")


main()
