"""`RpcBus.aconnect`, and the ends of `async with`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from tachyon._calls import connected
from tachyon._context import running_call
from tachyon._tachyon import LoopConnecting, RpcBus, RpcServer

if TYPE_CHECKING:
    import os
    from collections.abc import Generator
    from types import TracebackType

Polling: TypeAlias = Literal["adaptive", "spin", "park"]
"""How a side waits for its peer: it spins for as long as a park costs and then parks, never parks, or parks at once."""

_T = TypeVar("_T")

PAUSE = 0.005
"""Seconds between two looks at a server that stops."""


class Connecting(Coroutine[Any, Any, RpcBus], AbstractAsyncContextManager[RpcBus, None]):
    """The result of `RpcBus.aconnect`: `await` gives the bus, and `async with` closes it at the end of the block."""

    def __init__(self, connecting: LoopConnecting) -> None:
        """Prepare to connect; the timeout begins with the first step."""
        self._running = connected(connecting)
        self._bus: RpcBus | None = None

    def __await__(self) -> Generator[Any, Any, RpcBus]:
        """Connect."""
        return self._running.__await__()

    def send(self, value: Any, /) -> Any:  # noqa: ANN401  # the protocol of coroutines
        """Go on connecting."""
        return self._running.send(value)

    def throw(self, *error: Any) -> Any:  # noqa: ANN401  # the protocol of coroutines
        """Raise an exception in the coroutine."""
        return self._running.throw(*error)

    def close(self) -> None:
        """End the coroutine, which hangs up."""
        self._running.close()

    async def __aenter__(self) -> RpcBus:
        """Connect, and return the bus."""
        self._bus = await self._running
        return self._bus

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close the bus."""
        if self._bus is not None:
            self._bus.close()


def aconnect(  # noqa: PLR0913  # named ones
    socket_path: str | os.PathLike[str],
    *,
    timeout: float | None = 5.0,
    any_uid: bool = False,
    ring_sizes: tuple[int, int] | None = None,
    reconnect: bool = False,
    probe: bool = False,
    polling: Polling = "adaptive",
) -> Connecting:
    """Do the work of `RpcBus.aconnect`, which checks its arguments before it is awaited."""
    steps = LoopConnecting(
        socket_path,
        timeout=timeout,
        any_uid=any_uid,
        ring_sizes=ring_sizes,
        reconnect=reconnect,
        probe=probe,
        polling=polling,
    )
    return Connecting(steps)


async def enter(entered: _T) -> _T:
    """Enter an `async with` block."""
    return entered


async def leave(bus: RpcBus) -> None:
    """Leave the `async with` block of a bus."""
    bus.close()


async def leave_server(server: RpcServer) -> None:
    """Leave the `async with` block of a server: stop, and wait until the path is free, as far as a handler may wait."""
    server.stop()
    # A task that serves needs the loop, so the loop must not wait in `close`.
    while server.__tachyon_serving__ and running_call() is None:  # noqa: ASYNC110  # the serving's end has no event
        await asyncio.sleep(PAUSE)
    server.close()
