"""The ways to call an endpoint: each yields a function that takes the endpoint and its arguments."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tachyon import Pool, RpcBus

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 60.0


@contextmanager
def by_call(path: str) -> Iterator[Any]:
    with RpcBus.connect(path) as bus:
        yield lambda endpoint, *given, **named: endpoint.call(bus, *given, **named)


@contextmanager
def by_deadline(path: str) -> Iterator[Any]:
    with RpcBus.connect(path) as bus:
        yield lambda endpoint, *given, **named: endpoint.call(bus.within(LIMIT), *given, **named)


@contextmanager
def by_task(path: str) -> Iterator[Any]:
    """Make the call outside the loop, and run it."""
    with asyncio.Runner() as runner, RpcBus.connect(path) as bus:
        yield lambda endpoint, *given, **named: runner.run(endpoint.acall(bus, *given, **named))


@contextmanager
def by_acall(path: str) -> Iterator[Any]:
    """Make the call in a coroutine of the loop."""
    with asyncio.Runner() as runner, RpcBus.connect(path) as bus:

        async def acall(endpoint: Any, *given: Any, **named: Any) -> Any:
            return await endpoint.acall(bus, *given, **named)

        yield lambda endpoint, *given, **named: runner.run(acall(endpoint, *given, **named))


@contextmanager
def by_pool(path: str) -> Iterator[Any]:
    with Pool(path, 1) as pool:
        yield pool.call


@contextmanager
def by_timed_pool(path: str) -> Iterator[Any]:
    with Pool(path, 1) as pool:
        yield lambda endpoint, *given, **named: pool.within(LIMIT).call(endpoint, *given, **named)
