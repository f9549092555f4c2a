"""Streams under test: all ways to serve a dispatcher, and a caller in another process, the program `stream_caller`."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import pytest

import tachyon
from programs import program
from tachyon import RpcBus, RpcDispatcher, RpcServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

LIMIT = 60.0
"""Seconds after which a test gives up."""

WAYS = ("bus", "server", "workers", "loop server", "loop bus")
"""The ways to serve."""


class StreamCaller:
    """A caller whose streams have numbers."""

    def __init__(self, path: str) -> None:
        """Connect to a path that listens."""
        self.process = subprocess.Popen(
            [program("stream_caller"), path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def ask(self, command: str, *arguments: object) -> str:
        """Act, and return the line of the outcome."""
        self.tell(command, *arguments)
        return self.answer()

    def answer(self) -> str:
        """Return the line of the outcome that `tell` began."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def tell(self, command: str, *arguments: object) -> None:
        """Begin to act."""
        assert self.process.stdin is not None
        words = (each.hex() if isinstance(each, bytes) else str(each) for each in arguments)
        self.process.stdin.write(" ".join([command, *words]) + "\n")

    def open(self, msg_type: int, payload: bytes = b"", *, within: float | None = None) -> int:
        """Open a stream, and return its number."""
        limit = () if within is None else (int(within * 1000),)
        opened = self.ask("open" if within is None else "open_within", msg_type, payload, *limit)
        return int(opened.removeprefix("opened "))

    def next(self, stream: int) -> bytes | None:
        """Return the next item; None after the last one."""
        found = self.ask("next", stream)
        if found == "end":
            return None
        assert found.startswith("item"), found
        return bytes.fromhex(found.removeprefix("item "))

    def items(self, stream: int) -> list[bytes]:
        """Return all items up to the end."""
        found: list[bytes] = []
        while (item := self.next(stream)) is not None:
            found.append(item)
        return found

    def call(self, msg_type: int, payload: bytes = b"") -> bytes:
        """Call an endpoint that is no stream."""
        reply = self.ask("call", msg_type, payload)
        assert reply.startswith("reply"), reply
        return bytes.fromhex(reply.removeprefix("reply "))

    def close(self) -> None:
        """Close in good order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()

    def kill(self) -> None:
        """Die."""
        self.process.kill()
        self.process.wait(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        if kind is None and self.process.returncode is None:
            self.close()
            return
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def le(number: int) -> bytes:
    return number.to_bytes(4, "little")


def wait_until(done: Callable[[], object]) -> None:
    """Wait for another thread or process."""
    for _ in range(1500):
        if done():
            return
        time.sleep(0.01)
    pytest.fail("it never happened")


class Serving:
    """A dispatcher that a thread serves."""

    def __init__(self, dispatcher: RpcDispatcher, path: str, way: str, **options: Any) -> None:
        """Serve in one of `WAYS`."""
        self.error: BaseException | None = None
        self.way = way
        self._dispatcher, self._path, self._options = dispatcher, path, options
        self.server = RpcServer(path, **options) if way in {"server", "workers", "loop server"} else None
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        try:
            self._serve_in_its_way()
        except BaseException as error:
            self.error = error

    def _serve_in_its_way(self) -> None:
        if self.server is None:
            with RpcBus.listen(self._path, 1 << 16, 1 << 16) as bus:
                if self.way == "bus":
                    self._dispatcher.serve_forever(bus)
                else:
                    asyncio.run(self._aserve(bus))
        elif self.way == "loop server":
            asyncio.run(self._aserve(self.server))
        else:
            self._dispatcher.serve_forever(self.server, workers=2 if self.way == "workers" else 1)

    async def _aserve(self, target: RpcBus | RpcServer) -> None:
        await self._dispatcher.aserve(target)

    def end(self) -> None:
        """Stop, and wait for the end."""
        if self.server is not None:
            self.server.stop()
        self.thread.join(LIMIT)
        assert not self.thread.is_alive()


@contextlib.contextmanager
def serving(dispatcher: RpcDispatcher, path: str, way: str, **options: Any) -> Iterator[StreamCaller]:
    """Serve, with one caller, which is closed at the end."""
    served = Serving(dispatcher, path, way, **options)
    try:
        with StreamCaller(path) as caller:
            yield caller
    finally:
        served.end()
    assert served.error is None or isinstance(served.error, tachyon.errors.PeerDeadError), served.error
