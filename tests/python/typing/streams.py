"""Types of streams at their caller; mypy and pyright read this file, which never runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Never, assert_type

import tachyon
from tachyon import AsyncStream, Pool, RpcBus, Stream, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Chunk(tachyon.Struct):
    """A part of a file."""

    at: tachyon.u64
    data: bytes


@tachyon_rpc(msg_type=1)
def count(to: tachyon.u32) -> Iterator[tachyon.u32]:
    """Reply with numbers."""
    yield from range(to)


@tachyon_rpc(msg_type=2)
async def ticks() -> AsyncIterator[Chunk]:
    """Reply with Structs from a task."""
    yield Chunk(at=0, data=b"")


@tachyon_rpc(msg_type=3)
def upload(name: str, items: Iterator[Chunk]) -> tachyon.u64:
    """Take a stream."""
    return len(name) + sum(len(item.data) for item in items)


@tachyon_rpc(msg_type=4)
async def upload_later(items: AsyncIterator[Chunk]) -> str:
    """Take a stream in a task."""
    return "".join([str(item.at) async for item in items])


@tachyon_rpc(msg_type=5)
def chat(room: str, name: str, items: Iterator[str]) -> Iterator[Chunk]:
    """Take a stream, and reply with one."""
    for item in items:
        yield Chunk(at=len(room), data=(name + item).encode())


@tachyon_rpc(msg_type=6)
async def chat_later(items: AsyncIterator[str]) -> AsyncIterator[Chunk]:
    """Take a stream in a task, and reply with one."""
    async for item in items:
        yield Chunk(at=0, data=item.encode())


@tachyon_rpc(msg_type=7)
def single(to: tachyon.u32) -> list[tachyon.u32]:
    """Reply once."""
    return list(range(to))


def in_threads(bus: RpcBus, pool: Pool, chunk: Chunk) -> None:
    """Streams have the types of the function."""
    with bus.stream(1, b"", timeout=1.0, item_timeout=None, window=4) as raw:
        assert_type(raw.closed, bool)
        assert_type(next(raw), bytes)
        assert_type(raw.send(bytearray(4)), bool)
        assert_type(raw.finish(), bytes)
    with count.stream(bus, 3) as numbers, count.stream(bus.within(0.5), 3, timeout=1.0, window=2) as limited:
        assert_type(numbers, Stream[int, Never, Never])
        assert_type(next(limited), int)
    for number in count.stream(bus, to=3):
        assert_type(number, int)
    with upload.stream(bus, "name", item_timeout=1.0) as uploading:
        assert_type(uploading, Stream[Never, Chunk, int])
        assert_type(uploading.send(chunk), bool)
        assert_type(uploading.finish(), int)
        uploading.send("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with chat.stream(bus, "room", "name") as chatting:
        assert_type(chatting, Stream[Chunk, str, Never])
        chatting.send("text")
        assert_type(next(chatting).at, int)
    assert_type(pool.stream(count, 3), Stream[int, Never, Never])
    assert_type(pool.within(0.5).stream(count, 3), Stream[int, Never, Never])
    count.stream(bus, "three")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    single.stream(bus, 3)  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def in_tasks(bus: RpcBus, pool: Pool, chunk: Chunk) -> None:
    """Streams of coroutines have the types of the function."""
    async with bus.astream(1) as raw:
        assert_type(await anext(raw), bytes)
    async with ticks.astream(bus) as ticking:
        assert_type(ticking, AsyncStream[Chunk, Never, Never])
    async for tick in ticks.astream(bus, item_timeout=1.0):
        assert_type(tick, Chunk)
    async with upload_later.astream(bus) as uploading:
        assert_type(uploading, AsyncStream[Never, Chunk, str])
        assert_type(await uploading.send(chunk), bool)
        assert_type(await uploading.finish(), str)
    async with chat_later.astream(bus) as chatting:
        assert_type(chatting, AsyncStream[Chunk, str, Never])
    async for number in pool.astream(count, 3):
        assert_type(number, int)
