"""Types of connecting, serving and observing; mypy and pyright read this file, which never runs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, assert_type

from tachyon import Bus, ErrorKind, Pool, RpcBus, RpcDispatcher, RpcServer, stats


async def connecting(path: Path) -> None:
    """A bus is awaited, entered, or both."""
    assert_type(await RpcBus.aconnect(path), RpcBus)
    async with RpcBus.aconnect(path, reconnect=True, ring_sizes=(4096, 4096), timeout=None) as bus:
        assert_type(bus, RpcBus)
    async with await RpcBus.aconnect(path, polling="park") as same:
        assert_type(same, RpcBus)
    assert_type(await asyncio.gather(RpcBus.aconnect(path), RpcBus.aconnect(path)), tuple[RpcBus, RpcBus])
    assert_type(await asyncio.create_task(RpcBus.aconnect(path)), RpcBus)
    assert_type(await asyncio.wait_for(RpcBus.aconnect(path), 1), RpcBus)
    RpcBus.aconnect(path, retries=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


def polling(path: Path, word: Literal["adaptive", "spin", "park"], bus: RpcBus | Bus) -> None:
    """Each object that waits takes the same words."""
    Bus.listen(path, 4096, polling=word)
    Bus.connect(path, polling=word)
    RpcBus.listen(path, 4096, 4096, polling=word)
    RpcBus.connect(path, polling=word)
    RpcServer(path, polling=word)
    Pool(path, polling=word)
    bus.set_polling_mode(word)
    bus.set_polling_mode(1)
    RpcBus.connect(path, polling="fast")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Pool(path, polling=1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    bus.set_polling_mode("fast")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def serving(path: Path, dispatcher: RpcDispatcher) -> None:
    """Signals stop servers, and blocks close servers and pools."""
    with RpcServer(path) as server:
        dispatcher.serve_forever(server, workers=2, stop_on=(signal.SIGTERM, signal.SIGINT))
        dispatcher.serve_forever(server, stop_on={15})
        only = signal.SIGTERM
        dispatcher.serve_forever(server, stop_on=only)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    async with RpcServer(path) as other:
        assert_type(other, RpcServer)
        await dispatcher.aserve(other, concurrency=5, stop_on=[signal.SIGTERM])
    async with Pool(path) as pool:
        assert_type(pool, Pool)


def observing(path: Path) -> None:
    """Statistics are typed values."""
    assert_type([server.path for server in stats.servers()], list[Path])
    before, now = stats.snapshot(path), stats.Observer(path).snapshot()
    assert_type(now, stats.Snapshot)
    interval = now.since(before)
    assert_type(interval.per_second(interval.calls), float)
    assert_type(now.endpoints[0].p99, float | None)
    assert_type(now.endpoints[0].errors_by_kind, Mapping[ErrorKind, int])
    assert_type(now.callers[0].forward.used, int)
    assert_type(interval.requests, Mapping[int, int])
    now.calls = 5  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
