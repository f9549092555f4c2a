"""Methods of a Service's clients that take the caller's items, as an iterator."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import TYPE_CHECKING, Any

from tachyon._stream_hints import stream_hint

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable

    from tachyon._streams import AsyncStream
    from tachyon._tachyon import Stream


def items_of(method: Callable[..., Any]) -> str | None:
    """Give the name of the parameter with the caller's items, the last one of a declared method; None without one."""
    *_, last = inspect.signature(method).parameters.values()
    hints: dict[str, Any] = vars(method)["__tachyon_hints__"]
    return last.name if stream_hint(hints.get(last.name), last.name) is not None else None


def sending(call: Callable[..., Any], method: Callable[..., Any], items: str, *, awaits: bool) -> Callable[..., Any]:
    """Give the method of a client that sends its parameter `items` over the stream that `call` opens."""
    signature = inspect.signature(method)
    replies = stream_hint(vars(method)["__tachyon_hints__"].get("return"), "") is not None
    if replies and not awaits:
        message = (
            f"{method.__qualname__} takes and gives items at the same time, and a blocking client waits for one of "
            "both; declare it as `async def`, or as a function, and open that with `stream`"
        )
        raise TypeError(message)
    run = _chat if replies else _upload_awaited if awaits else _upload

    @functools.wraps(method)
    def sent(*args: object, **kwargs: object) -> object:
        bound = signature.bind(None, *args, **kwargs).arguments
        given = bound.pop(items)
        # The first one is `self`.
        return run(call(*list(bound.values())[1:]), given)

    return sent


def _upload(stream: Stream[Any, Any, Any], items: Iterable[Any]) -> object:
    with stream:
        for item in items:
            if not stream.send(item):
                break
        return stream.finish()


async def _upload_awaited(stream: AsyncStream[Any, Any, Any], items: AsyncIterable[Any]) -> object:
    async with stream:
        await _send_all(stream, items)
        return await stream.finish()


async def _chat(stream: AsyncStream[Any, Any, Any], items: AsyncIterable[Any]) -> AsyncGenerator[object, None]:
    async with stream:
        task = asyncio.create_task(_send_or_close(stream, items))
        try:
            async for item in stream:
                yield item
            if task.done():
                await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _send_all(stream: AsyncStream[Any, Any, Any], items: AsyncIterable[Any]) -> None:
    async for item in items:
        if not await stream.send(item):
            return
    await stream.end()


async def _send_or_close(stream: AsyncStream[Any, Any, Any], items: AsyncIterable[Any]) -> None:
    """Send all items. An iterator that fails closes the stream, which ends the iteration of its replies."""
    try:
        await _send_all(stream, items)
    except BaseException:
        await stream.close()
        raise
