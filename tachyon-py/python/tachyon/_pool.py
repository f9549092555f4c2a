"""Callers shared by threads: each borrows one for as long as it needs it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, overload

from tachyon._tachyon import RpcBus, RpcEndpoint
from tachyon.errors import BusClosedError, InvalidArgumentError, PeerClosedError, PeerDeadError, TimedOutError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

_T = TypeVar("_T")
_ParametersT = ParamSpec("_ParametersT")
_GivenT = TypeVar("_GivenT")

RESENDS = 2
"""How often a request that may be handled twice is sent anew after its connection was lost, as a bus does it."""


class Pool:
    """A set of connected callers for any number of threads.

    Callers are made when they are needed, up to `max_size` (default: as many as there are processors), and kept when
    they come back. One whose peer is gone is thrown away, and the next one connects anew. Whoever listens at the path
    must take many callers, as an `RpcServer` does. `timeout` is how long a thread waits for a caller, connecting
    included; `ring_sizes` and `any_uid` are those of `RpcBus.connect`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        max_size: int | None = None,
        *,
        timeout: float | None = 5.0,
        ring_sizes: tuple[int, int] | None = None,
        any_uid: bool = False,
    ) -> None:
        """Make a pool of callers that connect to `path`; connect nothing yet."""
        if max_size is None:
            max_size = os.cpu_count() or 1
        if max_size < 1:
            message = f"a pool of {max_size} callers can give none; max_size is from 1 up"
            raise InvalidArgumentError(message)
        self._path = path
        self._max_size = max_size
        self._timeout = timeout
        self._ring_sizes = ring_sizes
        self._any_uid = any_uid
        self._idle: list[RpcBus] = []
        # Places taken by callers in use, and by those that are just connecting.
        self._lent = 0
        self._closed = False
        self._returned = threading.Condition()

    @contextlib.contextmanager
    def caller(self, *, timeout: float | None = None) -> Generator[RpcBus]:
        """Lend a caller for the `with` block: an idle one, a new one, or the next to come back.

        `timeout` overrides the pool's. Calls that are outstanding at the end are forgotten. Raises `TimedOutError`
        when no caller comes back in time.
        """
        bus = self._take(self._timeout if timeout is None else timeout)
        try:
            yield bus
        finally:
            self._give_back(bus)

    def within(self, seconds: float) -> TimedPool:
        """Return the pool for calls that take so many seconds at most: `pool.within(0.5).call(endpoint, scan, radius)`.

        The limit covers the wait for a caller, too. Each call has the time for itself.
        """
        if not hasattr(seconds, "__float__"):
            message = f"a timeout is a number of seconds, such as within(0.5), not {type(seconds).__name__}"
            raise TypeError(message)
        if not seconds >= 0:
            message = f"a timeout is a number of seconds from 0 up, not {seconds}"
            raise InvalidArgumentError(message)
        return TimedPool(self, seconds)

    @overload
    def call(
        self,
        endpoint: RpcEndpoint[_ParametersT, _GivenT, Any],
        /,
        *args: _ParametersT.args,
        **kwargs: _ParametersT.kwargs,
    ) -> _GivenT: ...
    @overload
    def call(
        self,
        endpoint: RpcEndpoint[..., _GivenT, Any],
        /,
        payload: Any = None,
        on_response: None = None,
        *,
        timeout: float | None,
    ) -> _GivenT: ...
    @overload
    def call(
        self,
        endpoint: RpcEndpoint[..., Any, Any],
        /,
        payload: Any,
        on_response: Callable[[memoryview], _T],
        *,
        timeout: float | None = None,
    ) -> _T: ...
    def call(self, endpoint: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Do what `endpoint.call` does, on a caller of the pool.

        `timeout`, of an endpoint with one parameter or none, covers the wait for a caller, too; others have `within`. A
        request of an `idempotent` endpoint that is lost with its peer is sent again on another caller.
        """
        timeout = kwargs.pop("timeout", None) if endpoint.__tachyon_timeout__ else None
        return self._call(endpoint, timeout, args, kwargs)

    def _call(
        self, endpoint: RpcEndpoint[..., Any, Any], timeout: float | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        deadline = None if timeout is None else time.monotonic() + timeout
        resends = RESENDS if endpoint.idempotent else 0
        while True:
            try:
                with self.caller(timeout=_left(deadline)) as bus:
                    left = _left(deadline)
                    return endpoint.call(bus if left is None else bus.within(left), *args, **kwargs)
            except (PeerClosedError, PeerDeadError):
                if resends == 0:
                    raise
                resends -= 1

    def _take(self, timeout: float | None) -> RpcBus:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._returned:
                while not self._closed and not self._idle and self._lent >= self._max_size:
                    if not self._returned.wait(_left(deadline)):
                        message = f"all {self._max_size} callers of the pool stayed in use; allow more, or wait longer"
                        raise TimedOutError(message)
                if self._closed:
                    message = "this pool is closed"
                    raise BusClosedError(message)
                self._lent += 1
                bus = self._idle.pop() if self._idle else None
            try:
                # The peer may have gone while this one lay idle.
                if bus is not None and bus._recycle():  # pyright: ignore[reportPrivateUsage]
                    return bus
                if bus is None:
                    return RpcBus.connect(
                        self._path, timeout=_left(deadline), ring_sizes=self._ring_sizes, any_uid=self._any_uid
                    )
                bus.close()
            except BaseException:
                self._leave(None)
                raise
            self._leave(None)

    def _give_back(self, bus: RpcBus) -> None:
        fit = bus._recycle()  # pyright: ignore[reportPrivateUsage]
        if not fit:
            bus.close()
        self._leave(bus if fit else None)

    def _leave(self, bus: RpcBus | None) -> None:
        """Give a place back, with its caller if that is of use to others."""
        with self._returned:
            self._lent -= 1
            keep = bus is not None and not self._closed
            if bus is not None and keep:
                self._idle.append(bus)
            self._returned.notify()
        if bus is not None and not keep:
            bus.close()

    def close(self) -> None:
        """Close the callers that lie idle now, and those in use when they come back. Closing twice is fine."""
        with self._returned:
            self._closed = True
            idle, self._idle = self._idle, []
            self._returned.notify_all()
        for bus in idle:
            bus.close()

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._closed

    def __len__(self) -> int:
        """Return how many callers are connected, lent or idle."""
        with self._returned:
            return self._lent + len(self._idle)

    def __enter__(self) -> Self:
        """Return the pool, which the end of the `with` block closes."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close the pool."""
        self.close()

    def __repr__(self) -> str:
        """Say where the callers connect to and how many there are."""
        state = " closed" if self._closed else ""
        return f"<tachyon.Pool path={os.fspath(self._path)!r} max_size={self._max_size} callers={len(self)}{state}>"


class TimedPool:
    """A pool from `Pool.within`: calls on it have so many seconds each."""

    def __init__(self, pool: Pool, seconds: float) -> None:
        """Call on the callers of `pool`."""
        self._pool = pool
        self._seconds = seconds

    def call(
        self,
        endpoint: RpcEndpoint[_ParametersT, _GivenT, Any],
        /,
        *args: _ParametersT.args,
        **kwargs: _ParametersT.kwargs,
    ) -> _GivenT:
        """Do what `Pool.call` does, within the time."""
        given: _GivenT = self._pool._call(endpoint, self._seconds, args, kwargs)  # pyright: ignore[reportPrivateUsage]
        return given


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
