"""Types of endpoints in pools, in event loops and in Rust; mypy and pyright read this file, which never runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

import tachyon
from tachyon import Array, Pool, RpcBus, RpcDispatcher, RpcEndpoint, RustEndpoint, tachyon_rpc, testing
from tachyon.errors import RefusedArgumentError

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
    """Take and give a Struct in a task."""
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


@tachyon_rpc(msg_type=6)
def scaled(point: Point, by: tachyon.f64 = 2.0, tags: list[tachyon.u8] | None = None) -> Point:
    """Take several arguments."""
    return Point(x=point.x * by, y=float(len(tags or [])))


def with_arguments(bus: RpcBus, pool: Pool, point: Point) -> None:
    """Calls have the function's own parameters."""
    assert_type(scaled.call(bus, point, 0.5, [1, 2]), Point)
    assert_type(scaled.call(bus.within(0.5), point, tags=[1]), Point)
    assert_type(pool.call(scaled, point, by=1.0), Point)
    assert_type(pool.within(0.5).call(scaled, point, 1.0, None), Point)
    assert_type(scaled(point, 1.0), Point)
    assert_type(mirrored.call(bus, point, len), int)
    assert_type(mirrored.call(bus, point, timeout=0.5), Point)
    assert_type(mirrored.call(bus, payload=point, on_response=bytes), bytes)
    assert_type(count.call(bus, None, bytes, timeout=0.5), bytes)
    scaled.call(bus, point, "x")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType, reportCallIssue]
    scaled.call(bus, point, 0.5, [""])  # type: ignore[list-item] # pyright: ignore[reportArgumentType, reportCallIssue]
    scaled.call(bus)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
    scaled.call(bus, point, bye=1.0)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
    pool.within(0.5).call(scaled, point, "x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    mirrored.call(bus, 3)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType, reportCallIssue]


class NoSensor(tachyon.EndpointError, text="no sensor {sensor}", kind=tachyon.ErrorKind.NOT_FOUND):
    """An error with a field and a kind."""

    sensor: tachyon.u32


class Busy(tachyon.EndpointError, kind="UNAVAILABLE"):  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    """A kind is no text."""


@tachyon_rpc(msg_type=7, raises=(NoSensor,))
def read(sensor: tachyon.u32) -> tachyon.f64:
    """Raise a declared error, or the class of a kind."""
    if not sensor:
        raise RefusedArgumentError(sensor)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    raise NoSensor(sensor=sensor)


def errors(bus: RpcBus) -> int:
    """Fields of errors are keyword arguments, and cannot be assigned."""
    NoSensor(3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    NoSensor(sensor="x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    try:
        read.call(bus, 3)
    except NoSensor as error:
        error.sensor = 4  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
        return error.sensor
    except tachyon.errors.NotFoundError as error:
        assert_type(error.kind, tachyon.ErrorKind)
        assert_type(tachyon.ErrorKind.from_grpc_code(error.kind.grpc_code), tachyon.ErrorKind | None)
    return 0


async def served(dispatcher: tachyon.RpcDispatcher) -> None:
    """A served dispatcher gives a bus."""
    with testing.serve(dispatcher) as bus:
        assert_type(bus, RpcBus)
    async with testing.aserve(dispatcher, concurrency=2) as looped:
        assert_type(looped, RpcBus)


class Scan(tachyon.Struct):
    """A Struct without a fixed size."""

    frame: str
    points: Array[Point]
    note: str | None = None


def variable(point: Point) -> None:
    """Fields have their annotated types."""
    scan = Scan(frame="a", points=[point])
    assert_type(scan.frame, str)
    assert_type(scan.note, str | None)
    assert_type(scan.points[0], Point)
    scan.points = [point]
    scan.frame = 3  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]


async def from_a_coroutine(bus: RpcBus, point: Point, view: memoryview) -> None:
    """Replies have the types of the results, not of the coroutines."""
    assert_type(await mirrored.acall(bus, point, timeout=1.0), Point)
    assert_type(await slowly.acall(bus, point), Point)
    assert_type(await count.acall(bus), int)
    assert_type(await echo.acall(bus, b"x"), bytes)
    assert_type(await worst.acall(bus, [point]), Point)
    assert_type(await slowly(point), Point)
    assert_type(await echo(view), bytes)
    assert_type(worst([point]), Point)
    await mirrored.acall(bus, b"")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType, reportCallIssue]
    await echo.acall(bus, "text")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType, reportCallIssue]
    await worst.acall(bus, "text")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await slowly.acall(bus)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]


def from_a_pool(pool: Pool, point: Point) -> None:
    """A call by a pool has the type of the endpoint's own call."""
    assert_type(pool.call(mirrored, point, timeout=1.0), Point)
    assert_type(pool.call(slowly, point), Point)
    assert_type(pool.call(count), int)
    assert_type(pool.call(echo, b"x"), bytes)
    assert_type(pool.call(worst, [point]), Point)
    assert_type(pool.call(mirrored, point, len), int)


async def from_a_pool_and_a_loop(pool: Pool, point: Point) -> None:
    """An awaited call by a pool has the same type."""
    assert_type(await pool.acall(mirrored, point, timeout=1.0), Point)
    assert_type(await pool.acall(slowly, point), Point)
    assert_type(await pool.acall(scaled, point, by=1.0), Point)
    assert_type(await pool.within(0.5).acall(scaled, point, 1.0, None), Point)
    assert_type(await pool.acall(echo, b"x"), bytes)
    call = pool.acall
    await call(scaled, point, "x")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType, reportCallIssue]


def serving(rust: RustEndpoint) -> None:
    """A dispatcher takes all kinds of endpoints."""
    here: RpcEndpoint[[Point], Point, Coroutine[Any, Any, Point]] = slowly
    dispatcher = RpcDispatcher().register(mirrored).register(here).register(rust)
    assert_type(rust.msg_type, int)
    dispatcher.register(len)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
