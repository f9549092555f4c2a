"""Callers shared by threads and coroutines: each call borrows one caller.

The places, the idle callers and the queue are in the core; see `src/rpc/pool.rs`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from typing import TYPE_CHECKING, Any, Never, ParamSpec, Self, TypeVar, overload

from tachyon._calls import acall_within, connected, release
from tachyon._tachyon import Attempts, LoopConnecting, Metadata, PoolPlaces, RpcBus, RpcEndpoint, checked_polling
from tachyon.errors import InvalidArgumentError, TachyonError
from tachyon.layers import caller_layers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
    from types import TracebackType

    from tachyon._connecting import Polling
    from tachyon._streams import AsyncStream
    from tachyon._tachyon import AsyncRequest, PoolLease, Stream
    from tachyon.layers import AfterOutgoing, BeforeOutgoing

_T = TypeVar("_T")
_ParametersT = ParamSpec("_ParametersT")
_GivenT = TypeVar("_GivenT")


class Pool:
    """A set of connected callers for any number of threads and event loops.

    The pool connects callers on demand, up to `max_size` (default: the number of processors), and keeps a caller that
    comes back. A caller whose peer is gone is closed, and the next one connects again. Threads and coroutines that wait
    for a caller get one in the order of their requests. The listener at the path must take many callers, as an
    `RpcServer` does. `timeout` is how long a call waits for a caller, including a connect; `ring_sizes`, `any_uid` and
    `polling` are those of `RpcBus.connect`.

    In a forked child the pool is empty, and connects again. The parent's pool stays as it is.
    """

    def __init__(  # noqa: PLR0913  # named ones
        self,
        path: str | os.PathLike[str],
        max_size: int | None = None,
        *,
        timeout: float | None = 5.0,
        ring_sizes: tuple[int, int] | None = None,
        any_uid: bool = False,
        polling: Polling = "adaptive",
    ) -> None:
        """Make a pool of callers for `path`, without connecting."""
        if max_size is None:
            max_size = os.cpu_count() or 1
        if max_size < 1:
            message = f"max_size must be at least 1, not {max_size}"
            raise InvalidArgumentError(message)
        # Absolute, and so independent of the working directory; `join` keeps `..` and links. `connect` refuses an empty
        # path.
        self._path = os.path.join(os.getcwd(), path) if os.fspath(path) else path  # noqa: PTH109, PTH118
        self._max_size = max_size
        self._timeout = timeout
        self._ring_sizes = ring_sizes
        self._any_uid = any_uid
        self._polling: Polling = checked_polling(polling)
        self._places = PoolPlaces(max_size)
        self._layers: tuple[Any, ...] | None = None

    @contextlib.contextmanager
    def caller(self, *, timeout: float | None = None) -> Generator[RpcBus]:
        """Borrow a caller for the `with` block: an idle one, a new one, or the next one to come back.

        `timeout` overrides the pool's. Calls in flight at the end are forgotten. Raises `TimedOutError` when no caller
        comes back in time.
        """
        deadline = self._deadline(timeout)
        lease, bus = self._take(deadline)
        try:
            self._lend(bus)
            yield bus
        finally:
            _give_back(lease, bus)

    def within(self, seconds: float) -> PoolView:
        """Return the pool with a timeout for each call: `pool.within(0.5).call(endpoint, scan, radius)`.

        The timeout covers the wait for a caller too. Each call has the full time.
        """
        return PoolView(self, _checked(seconds), None)

    def metadata(self, key: str, value: str) -> PoolView:
        """Return the pool with one entry of metadata for each call, as `RpcBus.metadata` does."""
        return PoolView(self, None, Metadata(key, value))

    def layer(self, layer: BeforeOutgoing | AfterOutgoing) -> Self:
        """Add a layer to every caller that the pool lends from now on, as `RpcBus.layer` does; return the pool.

        A layer sees each attempt at a call that is made again on another caller.
        """
        self._layers = caller_layers(self._layers, layer)
        return self

    def _lend(self, bus: RpcBus) -> None:
        if self._layers is not None:
            bus.__tachyon_layers__ = self._layers

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
        """Make the call of `endpoint.call` on a caller of the pool.

        `timeout`, of an endpoint with one parameter or none, covers the wait for a caller too; other endpoints use
        `within`. A request of an `idempotent` endpoint that is lost with its peer is sent again on another caller.
        """
        timeout = kwargs.pop("timeout", None) if endpoint.__tachyon_timeout__ else None
        return self._call(endpoint, timeout, None, args, kwargs)

    @overload
    def acall(
        self,
        endpoint: RpcEndpoint[_ParametersT, _GivenT, Any],
        /,
        *args: _ParametersT.args,
        **kwargs: _ParametersT.kwargs,
    ) -> Coroutine[Any, Any, _GivenT]: ...
    @overload
    def acall(
        self,
        endpoint: RpcEndpoint[..., _GivenT, Any],
        /,
        payload: Any = None,
        *,
        timeout: float | None,
    ) -> Coroutine[Any, Any, _GivenT]: ...
    def acall(self, endpoint: Any, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Make the call of `endpoint.acall` on a caller of the pool that no other call uses meanwhile.

        Any number of tasks in any number of event loops may call. A cancelled call gives its place in the queue, or its
        caller, to the next call. `timeout` and `idempotent` are as in `call`.
        """
        return self._acall(endpoint, endpoint.__tachyon_request__(None, args, kwargs), None)

    @overload
    def stream(
        self,
        endpoint: RpcEndpoint[_ParametersT, Any, Iterator[_GivenT] | AsyncIterator[_GivenT]],
        /,
        *args: _ParametersT.args,
        **kwargs: _ParametersT.kwargs,
    ) -> Stream[_GivenT, Never, Never]: ...
    @overload
    def stream(self, endpoint: RpcEndpoint[..., Any, Any], /, *args: Any, **kwargs: Any) -> Stream[Any, Any, Any]: ...
    def stream(self, endpoint: Any, /, *args: Any, **kwargs: Any) -> Stream[Any, Any, Any]:
        """Open the stream of `endpoint.stream` on a caller of the pool, which no other call uses until the stream ends.

        `timeout` covers the wait for a caller too. Use the stream in a `with` block, which gives the caller back.
        """
        timeout = kwargs.pop("timeout", None) if endpoint.__tachyon_timeout__ else None
        return self._stream(endpoint, timeout, None, args, kwargs)

    @overload
    def astream(
        self,
        endpoint: RpcEndpoint[_ParametersT, Any, Iterator[_GivenT] | AsyncIterator[_GivenT]],
        /,
        *args: _ParametersT.args,
        **kwargs: _ParametersT.kwargs,
    ) -> AsyncStream[_GivenT, Never, Never]: ...
    @overload
    def astream(
        self, endpoint: RpcEndpoint[..., Any, Any], /, *args: Any, **kwargs: Any
    ) -> AsyncStream[Any, Any, Any]: ...
    def astream(self, endpoint: Any, /, *args: Any, **kwargs: Any) -> AsyncStream[Any, Any, Any]:
        """Open the stream of `endpoint.astream` on a caller of the pool, which no other call uses until its end.

        The stream waits for a caller when it opens. Use it in an `async with` block, which gives the caller back.
        """
        return self._astream(endpoint, None, None, args, kwargs)

    def _stream(
        self,
        endpoint: RpcEndpoint[..., Any, Any],
        timeout: float | None,
        metadata: Metadata | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Stream[Any, Any, Any]:
        deadline = _after(timeout)
        attempts: Attempts | None = None
        while True:
            with _marking(attempts):
                lease, bus = self._take(self._deadline(_left(deadline)))
            left = _left(deadline)
            try:
                self._lend(bus)
                opened = endpoint.stream(bus.__tachyon_view__(left, metadata), *args, **kwargs)
            except BaseException as error:
                attempts = attempts or Attempts(reconnects=True, idempotent=False, seconds=left)
                again = isinstance(error, TachyonError) and attempts.again(error)
                if again:
                    # The callee is gone, or stops.
                    bus.close()
                lease.give_back(bus)
                lease.leave()
                if not again:
                    raise
            else:
                opened.__tachyon_on_end__ = functools.partial(_give_back, lease, bus)
                return opened

    def _take(self, deadline: float | None) -> tuple[PoolLease, RpcBus]:
        """Wait for a place, and for a connection if there is no idle caller."""
        lease = self._places.take(_left(deadline))
        try:
            return lease, lease.idle() or self._connect(deadline)
        except BaseException:
            lease.leave()
            raise

    def _astream(
        self,
        endpoint: RpcEndpoint[..., Any, Any],
        seconds: float | None,
        metadata: Metadata | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> AsyncStream[Any, Any, Any]:
        return endpoint.__tachyon_astream__(self._lent, seconds, metadata, args, kwargs)

    async def _lent(self, timeout: float | None) -> tuple[RpcBus, Callable[[], None]]:  # noqa: ASYNC109  # as `acall`
        """Borrow a caller in the running loop for a stream: the caller, and the function that gives it back."""
        lease, bus = await self._borrow(self._deadline(timeout))
        self._lend(bus)

        def give_back() -> None:
            release(bus)
            _give_back(lease, bus)

        return bus, give_back

    def _call(
        self,
        endpoint: RpcEndpoint[..., Any, Any],
        timeout: float | None,
        metadata: Metadata | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        deadline = _after(timeout)
        attempts: Attempts | None = None
        while True:
            with _marking(attempts), self.caller(timeout=_left(deadline)) as bus:
                left = _left(deadline)
                try:
                    # A view costs each call a bit.
                    is_plain = left is None and metadata is None
                    target = bus if is_plain else bus.__tachyon_view__(left, metadata)
                    return endpoint.call(target, *args, **kwargs)
                except TachyonError as error:
                    attempts = attempts or Attempts(reconnects=True, idempotent=endpoint.idempotent, seconds=left)
                    if not attempts.again(error):
                        raise
                    # The callee is gone, or stops.
                    bus.close()

    async def _acall(
        self,
        endpoint: RpcEndpoint[..., Any, Any],
        request: AsyncRequest,
        metadata: Metadata | None,
    ) -> Any:
        deadline = _after(request.timeout)
        attempts: Attempts | None = None
        while True:
            with _marking(attempts):
                lease, bus = await self._borrow(self._deadline(_left(deadline)))
            left = _left(deadline)
            try:
                self._lend(bus)
                return await acall_within(bus, request, metadata, left, idempotent=False)
            except TachyonError as error:
                attempts = attempts or Attempts(reconnects=True, idempotent=endpoint.idempotent, seconds=left)
                if not attempts.again(error):
                    raise
                # The callee is gone, or stops.
                bus.close()
            finally:
                release(bus)
                lease.give_back(bus)

    async def _borrow(self, deadline: float | None) -> tuple[PoolLease, RpcBus]:
        """Wait in the running loop for a place, and for a connection if there is no idle caller."""
        loop = asyncio.get_running_loop()
        lease = self._places.request()
        try:
            try:
                async with asyncio.timeout(_left(deadline)):
                    handed = loop.create_future()
                    while not lease.poll(functools.partial(_wake, loop, handed, lease)):
                        await handed
                        handed = loop.create_future()
            except TimeoutError:
                raise self._places.exhausted() from None
            bus = lease.idle() or await self._connect_in_loop(deadline)
        except BaseException:
            lease.leave()
            raise
        return lease, bus

    def _deadline(self, timeout: float | None) -> float | None:
        """Return the deadline of a wait for a caller, after `timeout` seconds or the pool's."""
        return _after(self._timeout if timeout is None else timeout)

    def _connect(self, deadline: float | None) -> RpcBus:
        left = _left(deadline)
        return RpcBus.connect(
            self._path, timeout=left, ring_sizes=self._ring_sizes, any_uid=self._any_uid, polling=self._polling
        )

    async def _connect_in_loop(self, deadline: float | None) -> RpcBus:
        connecting = LoopConnecting(
            self._path,
            timeout=_left(deadline),
            any_uid=self._any_uid,
            ring_sizes=self._ring_sizes,
            reconnect=False,
            probe=False,
            polling=self._polling,
        )
        return await connected(connecting)

    def close(self) -> None:
        """Close idle callers now, and callers in use when they come back. Closing twice is fine."""
        self._places.close()

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._places.closed

    def __len__(self) -> int:
        """Return the number of connected callers, in use or idle."""
        return len(self._places)

    def __enter__(self) -> Self:
        """Return the pool; the end of the `with` block closes it."""
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

    async def __aenter__(self) -> Self:
        """Return the pool; the end of the `async with` block closes it."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close the pool."""
        self.close()

    def __repr__(self) -> str:
        """Show the path and the number of callers."""
        state = " closed" if self.closed else ""
        return f"<tachyon.Pool path={os.fspath(self._path)!r} max_size={self._max_size} callers={len(self)}{state}>"


class PoolView:
    """A pool from `Pool.within` or `Pool.metadata`, with settings for each call."""

    def __init__(self, pool: Pool, seconds: float | None, metadata: Metadata | None) -> None:
        """Limit each call on `pool` to `seconds`, and send metadata with each."""
        self._pool = pool
        self._seconds = seconds
        self._metadata = metadata

    def within(self, seconds: float) -> PoolView:
        """Return the pool with these settings, and with a timeout for each call in place of the view's."""
        return PoolView(self._pool, _checked(seconds), self._metadata)

    def metadata(self, key: str, value: str) -> PoolView:
        """Return the pool with these settings, and with one entry of metadata more for each call."""
        return PoolView(self._pool, self._seconds, Metadata(key, value, self._metadata))

    def call(
        self,
        endpoint: RpcEndpoint[_ParametersT, _GivenT, Any],
        /,
        *args: _ParametersT.args,
        **kwargs: _ParametersT.kwargs,
    ) -> _GivenT:
        """Make the call of `Pool.call`, with the settings."""
        call = self._pool._call  # pyright: ignore[reportPrivateUsage]
        given: _GivenT = call(endpoint, self._seconds, self._metadata, args, kwargs)
        return given

    def acall(
        self,
        endpoint: RpcEndpoint[_ParametersT, _GivenT, Any],
        /,
        *args: _ParametersT.args,
        **kwargs: _ParametersT.kwargs,
    ) -> Coroutine[Any, Any, _GivenT]:
        """Make the call of `Pool.acall`, with the settings."""
        request = endpoint.__tachyon_request__(self._seconds, args, kwargs)
        return self._pool._acall(endpoint, request, self._metadata)  # pyright: ignore[reportPrivateUsage]

    @overload
    def stream(
        self,
        endpoint: RpcEndpoint[_ParametersT, Any, Iterator[_GivenT] | AsyncIterator[_GivenT]],
        /,
        *args: _ParametersT.args,
        **kwargs: _ParametersT.kwargs,
    ) -> Stream[_GivenT, Never, Never]: ...
    @overload
    def stream(self, endpoint: RpcEndpoint[..., Any, Any], /, *args: Any, **kwargs: Any) -> Stream[Any, Any, Any]: ...
    def stream(self, endpoint: Any, /, *args: Any, **kwargs: Any) -> Stream[Any, Any, Any]:
        """Open the stream of `Pool.stream`, with the settings."""
        return self._pool._stream(  # pyright: ignore[reportPrivateUsage]
            endpoint, self._seconds, self._metadata, args, kwargs
        )

    @overload
    def astream(
        self,
        endpoint: RpcEndpoint[_ParametersT, Any, Iterator[_GivenT] | AsyncIterator[_GivenT]],
        /,
        *args: _ParametersT.args,
        **kwargs: _ParametersT.kwargs,
    ) -> AsyncStream[_GivenT, Never, Never]: ...
    @overload
    def astream(
        self, endpoint: RpcEndpoint[..., Any, Any], /, *args: Any, **kwargs: Any
    ) -> AsyncStream[Any, Any, Any]: ...
    def astream(self, endpoint: Any, /, *args: Any, **kwargs: Any) -> AsyncStream[Any, Any, Any]:
        """Open the stream of `Pool.astream`, with the settings."""
        return self._pool._astream(  # pyright: ignore[reportPrivateUsage]
            endpoint, self._seconds, self._metadata, args, kwargs
        )


def _give_back(lease: PoolLease, bus: RpcBus) -> None:
    try:
        lease.give_back(bus)
    finally:
        lease.leave()


@contextlib.contextmanager
def _marking(attempts: Attempts | None) -> Generator[None]:
    """Mark an error as not safe to retry if an earlier attempt at the call may have begun."""
    try:
        yield
    except TachyonError as error:
        if attempts is not None and attempts.may_have_begun:
            error.safe_to_retry = False
        raise


def _checked(seconds: float) -> float:
    if not hasattr(seconds, "__float__"):
        message = f"a timeout is a number of seconds, such as within(0.5), not {type(seconds).__name__}"
        raise TypeError(message)
    if not seconds >= 0:
        message = f"a timeout is a number of seconds from 0 up, not {seconds}"
        raise InvalidArgumentError(message)
    return seconds


def _after(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _wake(loop: asyncio.AbstractEventLoop, handed: asyncio.Future[None], lease: PoolLease) -> None:
    """Wake a coroutine that waits for its place, from any thread."""
    try:
        loop.call_soon_threadsafe(_resolve, handed)
    except RuntimeError:
        # The loop was closed before its tasks ended.
        lease.leave()


def _resolve(handed: asyncio.Future[None]) -> None:
    if not handed.done():
        handed.set_result(None)
