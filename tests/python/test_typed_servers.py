"""Typed endpoints wherever there are endpoints: servers, pools, event loops, and callees that come anew."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

import tachyon
from tachyon import ErrorKind, LayoutMismatchError, Pool, RpcBus, RpcError, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

SERVICE = """
import logging
import numpy as np, numpy.typing as npt
from tachyon import current_call
logging.disable()

class Point(tachyon.Struct):
    x: tachyon.f64
    y: tachyon.KIND

dispatcher = tachyon.RpcDispatcher()

@dispatcher.handler(1, idempotent=True)
def mirrored(point: Point) -> Point:
    return Point(x=point.y, y=point.x)

@dispatcher.handler(2)
def total(numbers: npt.NDArray[np.float64]) -> tachyon.f64:
    return float(numbers.sum())

@dispatcher.handler(3)
def caller() -> tachyon.u64:
    return current_call().caller_id

@dispatcher.handler(4)
def wrong(number: tachyon.u8) -> tachyon.u8:
    return number + 250
"""

ASYNC = (
    SERVICE.replace("\ndef ", "\nasync def ")
    + """
import asyncio

@dispatcher.handler(5)
async def slowly(point: Point) -> Point:
    await asyncio.sleep(0.01)
    return point

async def main():
    with tachyon.RpcServer(path) as server:
        print("ready", flush=True)
        await dispatcher.serve_async(server)

try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
"""
)

SYNC = (
    SERVICE
    + """
with tachyon.RpcServer(path) as server:
    print("ready", flush=True)
    try:
        dispatcher.serve_forever(server, workers=WORKERS)
    except KeyboardInterrupt:
        pass
"""
)

SERVERS = {
    "one worker": SYNC.replace("WORKERS", "1"),
    "two workers": SYNC.replace("WORKERS", "2"),
    "event loop": ASYNC,
}


class Point(tachyon.Struct):
    x: tachyon.f64
    y: tachyon.f64


@tachyon_rpc(1, idempotent=True)
def mirrored(point: Point) -> Point: ...  # type: ignore[empty-body]


@tachyon_rpc(2)
def total(numbers: npt.NDArray[np.float64]) -> tachyon.f64: ...  # type: ignore[empty-body]


@tachyon_rpc(3)
def caller() -> tachyon.u64: ...  # type: ignore[empty-body]


@tachyon_rpc(4)
def wrong(number: tachyon.u8) -> tachyon.u8: ...  # type: ignore[empty-body]


@tachyon_rpc(5)
def slowly(point: Point) -> Point: ...  # type: ignore[empty-body]


@tachyon_rpc(1)
def raw_mirrored(payload: memoryview) -> bytes: ...  # type: ignore[empty-body]


POINT = Point(x=1.0, y=2.0)


@pytest.fixture
def serve(peer: Callable[[str], Peer]) -> Callable[..., Peer]:
    """Return a function that runs a server whose `Point.y` is an f64, or what else is said."""

    def start(code: str, kind: str = "f64") -> Peer:
        server = peer(code.replace("KIND", kind))
        assert server.line() == "ready"
        return server

    return start


@pytest.fixture(params=SERVERS.values(), ids=SERVERS.keys())
def server(request: pytest.FixtureRequest, serve: Callable[..., Peer]) -> Peer:
    return serve(request.param)


def test_a_server_gives_its_callers_types(server: Peer, path: str) -> None:
    with RpcBus.connect(path) as one, RpcBus.connect(path) as other:
        for bus in (one, other):
            assert mirrored.call(bus, POINT, timeout=5.0) == Point(x=2.0, y=1.0)
            assert total.call(bus, np.arange(100.0)) == 4950.0
        assert caller.call(one) != caller.call(other)


def test_a_server_refuses_what_is_no_request(server: Peer, path: str) -> None:
    with RpcBus.connect(path) as bus:
        with pytest.raises(RpcError, match="3 bytes came, and Point has 16") as raised:
            raw_mirrored.call(bus, b"abc")
        assert raised.value.kind is ErrorKind.BAD_REQUEST
        with pytest.raises(RpcError, match="the reply is u8, from 0 to 255, and 260 is out") as raised:
            wrong.call(bus, 10)
        assert raised.value.kind is ErrorKind.BAD_REPLY
        assert mirrored.call(bus, POINT).x == 2.0


def test_a_pool_calls_typed_endpoints(server: Peer, path: str) -> None:
    with Pool(path, max_size=3) as pool, ThreadPoolExecutor(6) as threads:
        points = [Point(x=float(number), y=0.5) for number in range(200)]
        replies = list(threads.map(lambda point: pool.call(mirrored, point, timeout=20.0), points))
        assert [reply.y for reply in replies] == [point.x for point in points]
        assert pool.call(total, np.ones(3), timeout=5.0) == 3.0
        assert pool.call(caller) > 0
        assert pool.call(mirrored, POINT, len) == 16


def test_coroutines_call_typed_endpoints(server: Peer, path: str) -> None:
    async def main() -> None:
        with RpcBus.connect(path) as bus:
            points = [Point(x=float(number), y=0.5) for number in range(500)]
            replies = await asyncio.gather(*(mirrored.acall(bus, point, timeout=20.0) for point in points))
            assert [reply.y for reply in replies] == [point.x for point in points]
            assert await total.acall(bus, np.arange(4.0)) == 6.0
            assert await caller.acall(bus, timeout=5.0) == 1
            with pytest.raises(RpcError, match="the reply is u8"):
                await wrong.acall(bus, 10)
            with pytest.raises(TypeError, match="mirrored: point is a Point, not int"):
                await mirrored.acall(bus, 3)  # type: ignore[call-overload]
            with pytest.raises(OverflowError, match="wrong: number is u8"):
                await wrong.acall(bus, 256)

    asyncio.run(main())


def test_tasks_take_and_give_types(serve: Callable[..., Peer], path: str) -> None:
    serve(ASYNC)

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            points = [Point(x=float(number), y=0.5) for number in range(100)]
            assert await asyncio.gather(*(slowly.acall(bus, point, timeout=20.0) for point in points)) == points

    asyncio.run(main())


def test_the_async_endpoint_is_still_the_function() -> None:
    @tachyon_rpc(6)
    async def halved(number: tachyon.f64) -> tachyon.f64:
        return number / 2

    assert asyncio.run(halved(3.0)) == 1.5


@pytest.mark.parametrize("code", SERVERS.values(), ids=SERVERS.keys())
def test_a_coroutine_learns_of_a_mismatch(serve: Callable[..., Peer], path: str, code: str) -> None:
    serve(code, "i64")

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            for _ in range(2):
                with pytest.raises(LayoutMismatchError, match="`y` of Point is f64 at offset 8 here, i64 at offset"):
                    await mirrored.acall(bus, POINT, timeout=5.0)
            assert await total.acall(bus, np.ones(2)) == 2.0

    asyncio.run(main())


def test_the_next_callee_is_asked_again(serve: Callable[..., Peer], path: str) -> None:
    first = serve(SYNC.replace("WORKERS", "1"))
    with RpcBus.connect(path, reconnect=True) as bus:
        assert mirrored.call(bus, POINT, timeout=5.0).x == 2.0
        first.kill()
        second = serve(SYNC.replace("WORKERS", "1"), "i64")
        with pytest.raises(LayoutMismatchError, match="f64 at offset 8 here, i64 at offset 8 at the callee"):
            mirrored.call(bus, POINT, timeout=5.0)
        second.kill()
        serve(SYNC.replace("WORKERS", "1"))
        assert mirrored.call(bus, POINT, timeout=5.0).x == 2.0


def test_a_coroutine_asks_the_next_callee_again(serve: Callable[..., Peer], path: str) -> None:
    first = serve(SYNC.replace("WORKERS", "1"))

    async def main() -> None:
        with RpcBus.connect(path, reconnect=True) as bus:
            assert (await mirrored.acall(bus, POINT, timeout=5.0)).x == 2.0
            first.kill()
            second = serve(SYNC.replace("WORKERS", "1"), "i64")
            with pytest.raises(LayoutMismatchError, match="f64 at offset 8 here, i64 at offset 8 at the callee"):
                await mirrored.acall(bus, POINT, timeout=5.0)
            second.kill()
            serve(SYNC.replace("WORKERS", "1"))
            assert (await mirrored.acall(bus, POINT, timeout=5.0)).x == 2.0

    asyncio.run(main())


def test_a_callee_that_says_nothing_is_taken_at_its_word(peer: Callable[[str], Peer], path: str) -> None:
    child = peer("""
        with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16) as bus:
            with bus.serve() as request:
                cid, data = request.correlation_id, bytes(memoryview(request))
            bus.reply(cid, data, 1)
    """)

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            assert await mirrored.acall(bus, POINT, timeout=5.0) == POINT

    asyncio.run(main())
    child.join()
