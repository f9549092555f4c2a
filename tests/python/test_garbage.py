"""Errors leave no cycles: an error of the package keeps none of the frames that it went through."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import weakref
from typing import TYPE_CHECKING

import pytest

import tachyon

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from conftest import Peer


class Mark:
    """An object in a frame."""


@pytest.fixture(autouse=True)
def _nothing_else_keeps_or_frees() -> Iterator[None]:
    gc.collect()
    gc.disable()
    # Log records of pytest would keep the tracebacks.
    logging.disable()
    yield
    logging.disable(logging.NOTSET)
    gc.enable()


def failing(mark: Callable[[], Mark], begun: asyncio.Event) -> tachyon.RpcDispatcher:
    """Return a table whose handlers fail, or wait."""
    dispatcher = tachyon.RpcDispatcher()

    @dispatcher.handler(1)
    async def fails(payload: memoryview) -> bytes:
        kept = mark()
        await asyncio.sleep(0)
        raise ValueError(payload.nbytes, id(kept))

    @dispatcher.handler(2)
    def fails_plainly(payload: memoryview) -> bytes:
        kept = mark()
        raise ValueError(payload.nbytes, id(kept))

    @dispatcher.handler(3)
    async def waits(payload: memoryview) -> bytes:
        kept = mark()
        begun.set()
        await asyncio.sleep(60)
        raise ValueError(payload.nbytes, id(kept))

    return dispatcher


def end(ending: str, caller: Peer, target: tachyon.RpcBus | tachyon.RpcServer) -> None:
    """End the serving in one of the ways, except cancellation."""
    if ending == "death":
        caller.process.send_signal(signal.SIGKILL)
    elif ending == "close":
        assert caller.process.stdin is not None
        caller.process.stdin.close()
    elif ending == "stop":
        assert isinstance(target, tachyon.RpcServer)
        target.stop()


@pytest.mark.parametrize(
    ("over", "ending"),
    [("bus", "death"), ("bus", "close"), ("bus", "cancel"), ("server", "stop"), ("server", "cancel")],
)
def test_handlers_and_servers_in_a_loop(service: Callable[..., Peer], path: str, over: str, ending: str) -> None:
    marks: list[weakref.ref[Mark]] = []

    def mark() -> Mark:
        made = Mark()
        marks.append(weakref.ref(made))
        return made

    def alive() -> list[int]:
        return [at for at, one in enumerate(marks) if one() is not None]

    async def serve(target: tachyon.RpcBus | tachyon.RpcServer, caller: Peer) -> None:
        kept = mark()
        begun = asyncio.Event()
        serving = asyncio.create_task(failing(mark, begun).aserve(target))
        await begun.wait()
        assert alive() == [0, 3], "the frame of a failed handler is alive"
        end(ending, caller, target)
        if ending == "cancel":
            serving.cancel()
        try:
            await serving
        except (asyncio.CancelledError, ConnectionError):
            assert kept is not None
        finally:
            # The task refers to the error, and the error to this frame.
            del serving

    if over == "bus":
        caller = service("three_calls")
        with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
            asyncio.run(serve(bus, caller))
    else:
        with tachyon.RpcServer(path, stop_timeout=0.2) as server:
            caller = service("three_calls")
            asyncio.run(serve(server, caller))
    caller.process.kill()
    caller.process.wait()
    assert (len(marks), alive()) == (4, [])


@tachyon.tachyon_rpc(msg_type=1)
def fails(payload: memoryview) -> bytes:
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=8)
def hangs(payload: memoryview) -> bytes:
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=9)
def dies(payload: memoryview) -> bytes:
    raise NotImplementedError


def by_call(path: str, endpoint: tachyon.RpcEndpoint) -> None:
    with tachyon.RpcBus.connect(path) as bus:
        endpoint.call(bus, b"", timeout=0.3)


def by_pool(path: str, endpoint: tachyon.RpcEndpoint) -> None:
    with tachyon.Pool(path, 1) as pool:
        pool.call(endpoint, b"", timeout=0.3)


async def by_acall(path: str, endpoint: tachyon.RpcEndpoint) -> None:
    with tachyon.RpcBus.connect(path) as bus:
        await endpoint.acall(bus, b"", timeout=0.3)


async def by_pool_acall(path: str, endpoint: tachyon.RpcEndpoint) -> None:
    with tachyon.Pool(path, 1) as pool:
        await pool.acall(endpoint, b"", timeout=0.3)


@pytest.mark.parametrize("way", [by_call, by_pool, by_acall, by_pool_acall])
@pytest.mark.parametrize(
    ("endpoint", "raised"),
    [(fails, tachyon.RpcError), (hangs, tachyon.TimedOutError), (dies, ConnectionError)],
    ids=["fails", "hangs", "dies"],
)
def test_calls(
    service: Callable[..., Peer],
    path: str,
    way: Callable[[str, tachyon.RpcEndpoint], Coroutine[None, None, None] | None],
    endpoint: tachyon.RpcEndpoint,
    raised: type[Exception],
) -> None:
    server = service("failing", "server", quiet=True)
    marks: list[weakref.ref[Mark]] = []

    async def catch() -> None:
        kept = Mark()
        marks.append(weakref.ref(kept))
        try:
            # The runner of asyncio would keep an error that leaves `catch` in a cycle.
            under_way = way(path, endpoint)
            if under_way is not None:
                await under_way
        except raised:
            assert kept is not None

    asyncio.run(catch())
    server.process.kill()
    server.process.wait()
    assert [one() for one in marks] == [None]
