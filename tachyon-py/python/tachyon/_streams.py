"""Streams of coroutines. `tachyon._calls` drives the connection; the blocking `Stream` is in the extension."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeAlias, TypeVar

from tachyon._calls import TIMED_OUT, LoopConnection, Opening, deadline_after, exchange, loop_connection_of
from tachyon._tachyon import METADATA, RpcBus, item_bytes
from tachyon.errors import InvalidArgumentError, TimedOutError
from tachyon.layers import ShownCall

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from tachyon._calls import OpenStream
    from tachyon._tachyon import Contract, Metadata

    _Lender: TypeAlias = Callable[[float | None], Awaitable[tuple[RpcBus, Callable[[], None]]]]

_ItemT_co = TypeVar("_ItemT_co", covariant=True)
_SentT_contra = TypeVar("_SentT_contra", contravariant=True)
_ReplyT_co = TypeVar("_ReplyT_co", covariant=True)

_CLOSED = "this stream is closed; open another one"


class _Opened(NamedTuple):
    """An open stream, and its place."""

    bus: RpcBus
    connection: LoopConnection
    stream: OpenStream


class AsyncStream(Generic[_ItemT_co, _SentT_contra, _ReplyT_co]):
    """A stream of a coroutine: an async iterator of the callee's items, and the sender of this side's.

    Leaving the `async with` block closes the stream, which cancels it at the callee unless it has ended. A stream whose
    items are all taken is closed. Any number of calls and streams of the bus go on beside it. A task that is cancelled
    in one of the methods loses no item.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # called by the extension
        self,
        source: RpcBus | _Lender,
        payload: bytes,
        msg_type: int,
        name: str,
        metadata: Metadata | None,
        contract: Contract | None,
        *,
        timeout: float | None,
        item_timeout: float | None,
        window: int | None,
    ) -> None:
        """Describe a stream, which opens with its first operation."""
        self._source = source
        self._payload = payload
        self._msg_type = msg_type
        self._name = name
        self._metadata = metadata
        self._contract = contract
        self._timeout = timeout
        self._item_timeout = item_timeout
        self._window = window
        self._deadline: float | None = None
        self._at: _Opened | None = None
        self._opening = asyncio.Lock()
        self._shown: ShownCall | None = None
        self._on_end: Callable[[], None] | None = None
        # Whether the outcome was taken, and whether this side closed the stream.
        self._ended = False
        self._closed = False
        self._has_end = False

    async def _open(self) -> _Opened:
        """Open the stream, unless it is open."""
        if (at := self._known()) is not None:
            return at
        async with self._opening:
            # Another task may have opened or closed it meanwhile.
            if (at := self._known()) is not None:
                return at
            try:
                self._at = at = await self._opened()
            except BaseException:
                self._closed = True
                self._end()
                raise
            if self.closed:
                self._abandon()
            self._known()
        return at

    def _known(self) -> _Opened | None:
        """Return the stream if it was opened. Raises InvalidArgumentError for a closed one."""
        if self._closed:
            raise InvalidArgumentError(_CLOSED)
        return self._at

    async def _opened(self) -> _Opened:
        loop = asyncio.get_running_loop()
        self._deadline = deadline_after(loop, self._timeout)
        if isinstance(self._source, RpcBus):
            bus = self._source
        else:
            bus, self._on_end = await self._source(self._timeout)
        payload, type_id, metadata = self._payload, self._msg_type, self._metadata
        if (layers := bus.__tachyon_layers__) is not None:
            self._shown = ShownCall(layers, type_id, self._name, len(payload), self._timeout, metadata)
            metadata = self._shown.sent
        if metadata is not None:
            payload, type_id = metadata.message(payload), type_id | METADATA
        opening = Opening(payload, type_id, self._deadline, loop, self._window, self._contract)
        try:
            await exchange(bus, opening, self._contract, idempotent=False)
            stream = opening.stream
            assert stream is not None  # noqa: S101  # the opening was sent
            return _Opened(bus, loop_connection_of(bus), stream)
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            # A failed opening's exception refers to this frame.
            del opening

    def _failed(self, error: BaseException) -> None:
        if self._shown is not None:
            self._shown.failed(error)
            self._shown = None

    def _end(self, *, cancel: bool = True) -> None:
        """Note that the outcome was taken, and give everything back."""
        self._ended = True
        if self._at is not None:
            bus, connection, stream = self._at
            connection.close_stream(bus, stream.number, cancel=cancel)
        if self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            on_end()

    def _replied(self, size: int) -> None:
        self._end()
        if self._shown is not None:
            self._shown.replied(size)
            self._shown = None

    def _abandon(self) -> None:
        self._end()
        if self._shown is not None:
            self._shown.given_up()
            self._shown = None

    async def _wait(self, waiter: asyncio.Future[None]) -> None:
        """Wait for a message, or for credit and room: as long as an item and the whole stream may take."""
        limit = self._deadline
        if self._item_timeout is not None:
            of_item = asyncio.get_running_loop().time() + self._item_timeout
            limit = of_item if limit is None else min(limit, of_item)
        try:
            if limit is None:
                await waiter
            else:
                async with asyncio.timeout_at(limit):
                    await waiter
        except TimeoutError:
            # Not by the clock: a timer of uvloop fires up to a millisecond early.
            raise self._timed_out(is_over=limit == self._deadline) from None
        finally:
            # Resolved or not, the connection does not need it any more.
            waiter.cancel()

    def _timed_out(self, *, is_over: bool) -> TimedOutError:
        error = TimedOutError(TIMED_OUT)
        error.safe_to_retry = False
        if is_over:
            # The callee knows the deadline.
            self._end(cancel=False)
            self._failed(error)
        return error

    async def __aenter__(self) -> Self:
        """Open the stream."""
        await self._open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close the stream."""
        await self.close()

    def __aiter__(self) -> Self:
        """Return the stream."""
        return self

    async def __anext__(self) -> _ItemT_co:
        """Return the next item of the callee."""
        contract = self._contract
        if contract is not None and not contract.streams:
            message = f"the callee of {contract.name} sends one reply and no items; `finish()` takes the reply"
            raise TypeError(message)
        if self._ended or self._closed:
            raise StopAsyncIteration
        bus, connection, stream = await self._open()
        while not self._ended:
            # Items that keep coming do not keep the time of the whole stream from ending it.
            if self._deadline is not None and connection.loop.time() >= self._deadline:
                raise self._timed_out(is_over=True)
            try:
                item = connection.take_item(bus, stream)
            except BaseException as error:
                self._end()
                self._failed(error)
                raise
            if item is None:
                await self._wait(connection.wait_to_read(stream))
            elif isinstance(item, bool):
                if not item:
                    self._replied(0)
                # A reply is for `finish`.
                break
            else:
                decoded: Any = item if contract is None else contract.decode(item)
                return decoded  # type: ignore[no-any-return]
        raise StopAsyncIteration

    async def send(self, item: _SentT_contra) -> bool:
        """Send an item, waiting for credit and for room. Its bytes are read at once.

        Returns False when the callee has ended the stream, or is gone: the outcome, of `finish` or of the
        next item, says why.
        """
        self._check_takes_items()
        if self._has_end:
            message = "no item follows `end()`; send it before"
            raise InvalidArgumentError(message)
        return await self._send(item_bytes(item, self._contract))

    async def end(self) -> None:
        """Tell the callee that no further item comes. A second call does nothing."""
        self._check_takes_items()
        self._has_end = True
        await self._send(None)

    async def finish(self) -> _ReplyT_co:
        """Tell the callee that no further item comes, and wait for its reply.

        For streams of this side's items alone. Items of the callee that were not taken are dropped.
        """
        contract = self._contract
        if contract is not None and contract.streams:
            message = f"the callee of {contract.name} sends items and no single reply; iterate over them"
            raise TypeError(message)
        await self.end()
        while not self.closed and self._at is not None:
            bus, connection, stream = self._at
            try:
                reply = connection.take_last(bus, stream)
            except BaseException as error:
                self._end()
                self._failed(error)
                raise
            if reply is not None:
                self._replied(len(reply))
                value: Any = reply if contract is None else contract.decode(reply)
                return value  # type: ignore[no-any-return]
            await self._wait(connection.wait_to_read(stream))
        message = "this stream has ended, and its outcome was taken"
        raise InvalidArgumentError(message)

    async def _send(self, item: bytes | None) -> bool:
        if self._closed:
            raise InvalidArgumentError(_CLOSED)
        bus, connection, stream = await self._open()
        while not self._ended:
            sent = connection.send_item(bus, stream, item)
            if sent in {"sent", "ended"}:
                return sent == "sent"
            await self._wait(connection.wait_to_send(stream, None if sent == "credit" else len(item or b"")))
        return False

    def _check_takes_items(self) -> None:
        contract = self._contract
        if contract is not None and not contract.takes_items:
            message = f"the callee of {contract.name} takes no items; iterate over its own"
            raise TypeError(message)

    async def close(self) -> None:
        """Close the stream. One that has not ended is cancelled: its handler is told, and items under way are dropped.

        Never waits.
        """
        if not self._closed:
            self._closed = True
            if not self._ended:
                self._abandon()

    @property
    def closed(self) -> bool:
        """Whether the stream has ended, or was closed."""
        return self._ended or self._closed

    def __del__(self) -> None:
        """Cancel a stream that was dropped before its end."""
        at: _Opened | None = getattr(self, "_at", None)
        if at is None or self._ended or (at.bus.closed and self._on_end is None):
            return
        at.connection.abandon_stream(at.stream.number, self._on_end)
        if self._shown is not None:
            self._shown.given_up()
        warnings.warn(f"{self!r} was dropped before its end; use `async with`, or close it", ResourceWarning, 2)

    def __repr__(self) -> str:
        """Show the message type."""
        return f"<tachyon.AsyncStream msg_type={self._msg_type}{' closed' if self.closed else ''}>"
