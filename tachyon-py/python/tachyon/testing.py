"""Unit tests of endpoints: a served dispatcher and its caller in one process, without a path.

A decorated function still runs here when it is called: most tests write `shout("hello")` and need no peer. This module
is for tests of the rest: arguments and replies as they travel, errors as the caller gets them, layers, deadlines.
pytest has the fixtures `tachyon_serve` and `tachyon_path`.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from tachyon._tachyon import rpc_pair

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from tachyon._tachyon import RpcBus, RpcDispatcher

__all__ = ["aserve", "serve"]

_CAPACITY = 1 << 20
"""Bytes of each ring. Memory that is never written takes none."""


@contextmanager
def serve(dispatcher: RpcDispatcher, *, concurrency: int = 100) -> Generator[RpcBus]:
    """Serve a dispatcher in a new thread, and yield the bus to call it on.

    ::

        with tachyon.testing.serve(dispatcher) as bus:
            assert shout.call(bus, "hello") == "HELLO"

    The thread runs an event loop, so coroutine functions are served too, up to `concurrency` at a time. The end of the
    block closes the bus and waits for the handlers. It raises the error that ended the serving, if any; an error of the
    block goes first, with the other one as a note.
    """
    callee, caller = rpc_pair(_CAPACITY)
    # Not a future: a forked child that leaves the block would wait for the thread, which is the parent's.
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(dispatcher.aserve(callee, concurrency=concurrency))
        except BaseException as error:  # noqa: BLE001 - raised in the thread of the test
            failures.append(error)
        finally:
            callee.close()

    thread = threading.Thread(target=run, name="tachyon-pair", daemon=True)
    thread.start()
    try:
        yield caller
    except BaseException as error:
        _finish(caller, thread)
        for failure in failures:
            error.add_note(f"serving ended by {failure!r}")
        raise
    _finish(caller, thread)
    for failure in failures:
        raise failure


def _finish(caller: RpcBus, thread: threading.Thread) -> None:
    caller.close()
    thread.join()


@asynccontextmanager
async def aserve(dispatcher: RpcDispatcher, *, concurrency: int = 100) -> AsyncGenerator[RpcBus]:
    """Serve a dispatcher in a task of the running loop, and yield the bus to call it on.

    ::

        async with tachyon.testing.aserve(dispatcher) as bus:
            assert await shout.acall(bus, "hello") == "HELLO"

    A plain `call` would block the loop that serves it: use `acall`. The rest is as with `serve`.
    """
    callee, caller = rpc_pair(_CAPACITY)
    serving = asyncio.create_task(dispatcher.aserve(callee, concurrency=concurrency), name="tachyon-pair")
    try:
        yield caller
    except BaseException as error:
        await _afinish(caller, callee, serving)
        if not serving.cancelled() and (failure := serving.exception()):
            error.add_note(f"serving ended by {failure!r}")
        raise
    await _afinish(caller, callee, serving)
    serving.result()


async def _afinish(caller: RpcBus, callee: RpcBus, serving: asyncio.Task[None]) -> None:
    caller.close()
    await asyncio.wait([serving])
    callee.close()
