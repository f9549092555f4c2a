"""Typed endpoints at servers, in pools and event loops, and at the next callee."""

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

SERVERS: dict[str, tuple[str, dict[str, object]]] = {
    "one worker": ("server", {"workers": 1}),
    "two workers": ("server", {"workers": 2}),
    "event loop": ("loop", {"coroutines": True}),
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
def serve(service: Callable[..., Peer]) -> Callable[..., Peer]:
    """Return a function that starts a server whose `Point.y` is an f64, or an i64."""

    def start(server: str = "one worker", y: str = "f64") -> Peer:
        way, options = SERVERS[server]
        return service("points", way, y=y, quiet=True, **options)

    return start


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, serve: Callable[..., Peer]) -> Peer:
    return serve(request.param)


def test_a_server_gives_its_callers_types(server: Peer, path: str) -> None:
    with RpcBus.connect(path) as one, RpcBus.connect(path) as other:
        for bus in (one, other):
            assert mirrored.call(bus, POINT, timeout=5.0) == Point(x=2.0, y=1.0)
            assert total.call(bus, np.arange(100.0)) == 4950.0
        assert caller.call(one) != caller.call(other)


def test_a_server_refuses_wrong_requests_and_replies(server: Peer, path: str) -> None:
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
            with pytest.raises(TypeError, match="mirrored: point must be a Point, not int"):
                await mirrored.acall(bus, 3)  # type: ignore[call-overload]
            with pytest.raises(OverflowError, match="wrong: number is u8"):
                await wrong.acall(bus, 256)

    asyncio.run(main())


def test_tasks_take_and_give_types(serve: Callable[..., Peer], path: str) -> None:
    serve("event loop")

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


@pytest.mark.parametrize("server", SERVERS)
def test_a_coroutine_learns_of_a_mismatch(serve: Callable[..., Peer], path: str, server: str) -> None:
    serve(server, "i64")

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            for _ in range(2):
                with pytest.raises(LayoutMismatchError, match="`y` of Point is f64 at offset 8 here, i64 at offset"):
                    await mirrored.acall(bus, POINT, timeout=5.0)
            assert await total.acall(bus, np.ones(2)) == 2.0

    asyncio.run(main())


def test_the_next_callee_is_asked_again(serve: Callable[..., Peer], path: str) -> None:
    first = serve()
    with RpcBus.connect(path, reconnect=True) as bus:
        assert mirrored.call(bus, POINT, timeout=5.0).x == 2.0
        first.kill()
        second = serve(y="i64")
        with pytest.raises(LayoutMismatchError, match="f64 at offset 8 here, i64 at offset 8 at the callee"):
            mirrored.call(bus, POINT, timeout=5.0)
        second.kill()
        serve()
        assert mirrored.call(bus, POINT, timeout=5.0).x == 2.0


def test_a_coroutine_asks_the_next_callee_again(serve: Callable[..., Peer], path: str) -> None:
    first = serve()

    async def main() -> None:
        with RpcBus.connect(path, reconnect=True) as bus:
            assert (await mirrored.acall(bus, POINT, timeout=5.0)).x == 2.0
            first.kill()
            second = serve(y="i64")
            with pytest.raises(LayoutMismatchError, match="f64 at offset 8 here, i64 at offset 8 at the callee"):
                await mirrored.acall(bus, POINT, timeout=5.0)
            second.kill()
            serve()
            assert (await mirrored.acall(bus, POINT, timeout=5.0)).x == 2.0

    asyncio.run(main())


def test_a_callee_without_a_description_is_trusted(peer: Callable[[str], Peer], path: str) -> None:
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
