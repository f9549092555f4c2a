"""Make many calls of every form, and report the growth of memory in the caller and in the callee.

`leak.py [COUNT]`: ten million calls by default, in rounds of all forms. The first tenth fills the caches. After it the
status is 1 if a process grows by a mebibyte, or the caller's interpreter by a thousand blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tachyon
from tachyon import Pool, RpcBus, RpcDispatcher, RpcServer, tachyon_rpc

ROUND = 1000
"""Calls of one form in a row."""

MOST_GROWTH = 1 << 20
MOST_BLOCKS = 1000


@tachyon_rpc(msg_type=1)
def echo(payload: memoryview) -> bytes:
    return payload.tobytes()


@tachyon_rpc(msg_type=2)
def fails(payload: memoryview) -> bytes:
    raise ValueError


@tachyon_rpc(msg_type=3)
def missing(payload: memoryview) -> bytes:
    raise NotImplementedError


def serve(path: str) -> None:
    import logging  # noqa: PLC0415  # only the callee logs

    logging.disable()
    with RpcServer(path) as server:
        RpcDispatcher().register(echo).register(fails).serve_forever(server)


def plain(bus: RpcBus) -> None:
    for _ in range(ROUND):
        echo.call(bus, b"x" * 20)


def long(bus: RpcBus) -> None:
    payload = bytes(2000)
    for _ in range(ROUND):
        echo.call(bus, payload, timeout=60)


def lent(bus: RpcBus) -> None:
    for _ in range(ROUND):
        echo.call(bus, b"abc", lambda view: view[0])


def in_place(bus: RpcBus) -> None:
    for _ in range(ROUND):
        with bus.call_zero_copy(100, 1) as tx, memoryview(tx) as view:
            view[:4] = b"abcd"
        with bus.wait(tx.out_cid) as rx, memoryview(rx) as view:
            assert view[:4] == b"abcd"


def pipelined(bus: RpcBus) -> None:
    cids = [bus.call(b"y" * 60, 1) for _ in range(ROUND)]
    for cid in reversed(cids):
        with bus.wait(cid):
            pass


def abandoned(bus: RpcBus) -> None:
    """Guards that are never left, calls without a wait, views kept too long."""
    for _ in range(ROUND // 4):
        bus.forget(bus.call(b"z", 1))
        bus.call_zero_copy(10, 1)
        rx = bus.wait(bus.call(b"z" * 100, 1))
        view = memoryview(rx)
        with contextlib.suppress(tachyon.errors.ViewError):
            rx.__exit__(None, None, None)
        del rx, view
        with contextlib.suppress(tachyon.TimedOutError):
            echo.call(bus, b"late", timeout=0)


def failing(bus: RpcBus) -> None:
    for endpoint in (fails, missing):
        for _ in range(ROUND // 20):
            with contextlib.suppress(tachyon.RpcError):
                endpoint.call(bus, b"")


FORMS = (plain, long, lent, in_place, pipelined, abandoned, failing)


def resident(process: int | str) -> int:
    """Return the resident memory of a process, in bytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError(process)


class Calls:
    """All the forms of calls, in turn."""

    def __init__(self, path: str) -> None:
        self.bus = RpcBus.connect(path, timeout=20)
        self.pool = Pool(path, 1)
        self.loop = asyncio.Runner()
        self.awaited = RpcBus.connect(path)

    def make(self, count: int) -> None:
        made = 0
        while made < count:
            for form in FORMS:
                form(self.bus)
                made += ROUND
            for _ in range(ROUND):
                self.pool.call(echo, b"pool")
            self.loop.run(self.gather())
            made += 3 * ROUND

    async def gather(self) -> None:
        await asyncio.gather(*(echo.acall(self.awaited, b"acall") for _ in range(ROUND)))
        await asyncio.gather(*(self.pool.acall(echo, b"pool") for _ in range(ROUND)))


def main(count: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "leak.sock"))
        callee = subprocess.Popen([sys.executable, __file__, "--serve", path])
        try:
            calls = Calls(path)
            calls.make(count // 10)
            gc.collect()
            before = resident("self"), resident(callee.pid), sys.getallocatedblocks()
            started = time.monotonic()
            calls.make(count - count // 10)
            gc.collect()
            took = time.monotonic() - started
            after = resident("self"), resident(callee.pid), sys.getallocatedblocks()
        finally:
            callee.kill()
            callee.wait()
    print(f"{count} calls, {took:.0f} s after the first tenth")
    for name, one, other in zip(("caller", "callee"), before, after, strict=False):
        print(f"{name}: {one // 1024} KiB resident after the first tenth, {other // 1024} KiB at the end")
    blocks = after[2] - before[2]
    print(f"caller's interpreter: {blocks:+} blocks")
    grown = max(after[0] - before[0], after[1] - before[1])
    return int(grown > MOST_GROWTH or blocks > MOST_BLOCKS)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000))
