"""What type checkers have to know about endpoints on pools, event loops and in Rust; read by them, never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

import tachyon
from tachyon import Array, Pool, RpcBus, RpcDispatcher, RpcEndpoint, RustEndpoint, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Point(tachyon.Struct):
    """Two numbers."""

    x: tachyon.f64
    y: tachyon.f64


@tachyon_rpc(msg_type=1, idempotent=True)
def mirrored(point: Point) -> Point:
    """Take and give a Struct."""
    return Point(x=point.y, y=point.x)


@tachyon_rpc(msg_type=2)
async def slowly(point: Point) -> Point:
    """Do so as a task."""
    return point


@tachyon_rpc(msg_type=3)
async def count() -> tachyon.u64:
    """Take nothing."""
    return 1


@tachyon_rpc(msg_type=4)
async def echo(payload: memoryview) -> bytes:
    """Take and give bytes."""
    return payload.tobytes()


@tachyon_rpc(msg_type=5)
def worst(points: Array[Point]) -> Point:
    """Take any number of Structs."""
    return points[-1]


async def from_a_coroutine(bus: RpcBus, point: Point, view: memoryview) -> None:
    """Replies are what the functions give, not their coroutines."""
    assert_type(await mirrored.acall(bus, point, timeout=1.0), Point)
    assert_type(await slowly.acall(bus, point), Point)
    assert_type(await count.acall(bus), int)
    assert_type(await echo.acall(bus, b"x"), bytes)
    assert_type(await worst.acall(bus, [point]), Point)
    assert_type(await slowly(point), Point)
    assert_type(await echo(view), bytes)
    assert_type(worst([point]), Point)
    await mirrored.acall(bus, b"x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await echo.acall(bus, "text")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await worst.acall(bus, "text")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await slowly.acall(bus)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


def from_a_pool(pool: Pool, point: Point) -> None:
    """A pool gives what an endpoint does."""
    assert_type(pool.call(mirrored, point, timeout=1.0), Point)
    assert_type(pool.call(slowly, point), Point)
    assert_type(pool.call(count), int)
    assert_type(pool.call(echo, b"x"), bytes)
    assert_type(pool.call(worst, [point]), Point)
    assert_type(pool.call(mirrored, point, len), int)


def serving(rust: RustEndpoint) -> None:
    """All kinds go into one table."""
    here: RpcEndpoint[Point, Point, Coroutine[Any, Any, Point]] = slowly
    dispatcher = RpcDispatcher().register(mirrored).register(here).register(rust)
    assert_type(rust.msg_type, int)
    dispatcher.register(len)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
