"""Calls and streams of coroutines: one `LoopConnection` for each bus on which an event loop calls.

The loop watches one descriptor per bus, which is readable when replies or room have come. All code here runs in the
loop's thread and never waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

from tachyon._tachyon import METADATA, Attempts, Comparison, LoopCalls, LoopConnecting, LoopReconnecting, RpcBus
from tachyon.errors import (
    BusClosedError,
    BusyError,
    ErrorKind,
    InvalidArgumentError,
    PeerClosedError,
    PeerDeadError,
    RpcError,
    TachyonError,
    TimedOutError,
    TooLargeError,
)
from tachyon.layers import ShownCall

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tachyon._tachyon import AsyncRequest, Contract, Metadata

LOST = (PeerClosedError, PeerDeadError)
"""The ends of a connection after which a bus may reconnect."""

SECOND_LOOK = 0.01
"""Seconds between requesting a wake-up from the callee and a second poll; see `wait` in the core."""

TIMED_OUT = "timed out waiting for the peer; the connection stays usable, allow more time"


class Call:
    """One request: queued while `number` is 0, then in flight."""

    __slots__ = ("begun", "deadline", "number", "payload", "reply", "type_id")

    def __init__(
        self,
        payload: bytes | Comparison,
        type_id: int,
        deadline: float | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Describe a request with a deadline on the loop's clock, or the next question of a comparison."""
        self.payload = payload
        self.type_id = type_id
        self.deadline = deadline
        # Whether an earlier attempt may have begun.
        self.begun = False
        self.reset(loop)

    def reset(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin another attempt."""
        self.reply: asyncio.Future[bytes | RpcError] = loop.create_future()
        self.number = 0

    def left(self, loop: asyncio.AbstractEventLoop) -> float | None:
        """Return the seconds until the deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - loop.time())


class Opening(Call):
    """The request that opens a stream. Its reply is empty, and comes when the request was sent."""

    __slots__ = ("contract", "stream", "window")

    payload: bytes

    def __init__(  # noqa: PLR0913, PLR0917  # the parts of one stream
        self,
        payload: bytes,
        type_id: int,
        deadline: float | None,
        loop: asyncio.AbstractEventLoop,
        window: int | None,
        contract: Contract | None,
    ) -> None:
        """Describe a stream whose callee may send `window` items ahead."""
        super().__init__(payload, type_id, deadline, loop)
        self.window = window
        self.contract = contract
        # The connection may end, and forget the stream, before the task of the opening runs again.
        self.stream: OpenStream | None = None


class OpenStream:
    """An open stream of a connection."""

    __slots__ = ("_error", "arrived", "contract", "end", "number", "readers", "senders")

    def __init__(self, number: int, contract: Contract | None) -> None:
        """Describe the stream with a correlation id."""
        self.number = number
        self.contract = contract
        # Tasks that wait for a message, and tasks that wait for credit, or for so many bytes of room.
        self.readers: list[asyncio.Future[None]] = []
        self.senders: list[tuple[asyncio.Future[None], int | None]] = []
        # The messages that a connection had when it ended: items, then the end. True stands for the last item, a reply.
        self.arrived: deque[bytes] = deque()
        self.end: bool | None = None
        self._error: Exception | None = None

    def fail(self, error: Exception) -> None:
        """End the stream with an error, after the items that have arrived."""
        self.end, self._error = False, error

    def raise_end(self) -> None:
        """Raise the error that ended the stream, once."""
        # The traceback refers to the frames that hold the stream. A reference back would make a cycle and keep the
        # connection until the next collection.
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error

    def wake(self) -> None:
        """Wake the tasks that wait for a message, for credit or for room."""
        for reader in self.readers:
            wake(reader)
        self.readers.clear()
        self.wake_senders()

    def wake_senders(self) -> None:
        """Wake the tasks that wait for credit or room."""
        for sender, _ in self.senders:
            wake(sender)
        self.senders.clear()


class LoopConnection:
    """A bus that one event loop owns, with its calls in flight, its streams, and the calls that wait for room."""

    def __init__(self, bus: RpcBus, loop: asyncio.AbstractEventLoop, agreed: set[int]) -> None:
        """Make the loop the owner of the bus; the contracts `agreed` were compared on its connection before."""
        self.loop = loop
        self.released = False
        self._process = os.getpid()
        # Without a call in flight neither the bus nor this object is in a cycle: the last reference to the bus releases
        # their resources, and not the next collection.
        connection = weakref.ref(self)
        self._bus = weakref.ref(bus, lambda _: LoopConnection._collected(connection()))
        self._in_flight: dict[int, Call] = {}
        self._queue: deque[Call] = deque()
        self._arrived: list[tuple[int, bytes | RpcError | None]] = []
        self._streams: dict[int, OpenStream] = {}
        # Streams that wait until a closed one has got its last message.
        self._openings: list[Opening] = []
        self._renewal: asyncio.Task[None] | None = None
        self._connecting: LoopReconnecting | None = None
        self._waiters: list[asyncio.Future[None]] = []
        # The loop last requested a wake-up from the callee at this time.
        self._armed_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._watch(LoopCalls(bus), agreed)

    def _watch(self, calls: LoopCalls, agreed: set[int]) -> None:
        self._calls = calls
        self._ended: TachyonError | None = None
        # The keys of the contracts that the callee of this connection shares.
        self.agreed = agreed
        self._watched = calls.fileno()
        self.loop.add_reader(self._watched, self._receive)
        # Requests the first wake-up.
        self._receive()

    async def exchange(self, bus: RpcBus, call: Call, contract: Contract | None) -> bytes:
        """Send a request and await its reply, after a comparison of the contract with the callee of this connection."""
        try:
            while True:
                if self._ended is not None:
                    await self._renew(bus, self._ended)
                # A new connection, which may be there by now, needs a new comparison.
                agreed = self.agreed
                if contract is None or not contract.typed or contract.key in agreed:
                    return await self._exchange(bus, call)
                await self._agree(bus, contract, call)
                agreed.add(contract.key)
        finally:
            # As in `_exchange`.
            del call

    async def _agree(self, bus: RpcBus, contract: Contract, call: Call) -> None:
        """Compare a contract with the callee's."""
        comparison = Comparison(contract.describe())
        while True:
            question = Call(comparison, call.type_id, call.deadline, self.loop)
            try:
                answer = await self._exchange(bus, question)
            except TooLargeError:
                # A peer with a ring too small for the question is not compared.
                return
            except TimedOutError as error:
                # The callee saw the deadline of the question first. The call behind the question was not sent.
                raise copy_of(error) from None
            except RpcError as error:
                done = comparison.take(error)
            else:
                done = comparison.take(answer)
            if done:
                return

    async def _exchange(self, bus: RpcBus, call: Call) -> bytes:
        """Send a request and await its reply; forget the call if this ends without one."""
        try:
            if self._queue or not self._try_send(bus, call):
                self._queue.append(call)
                # Requests a wake-up when there is room.
                self.loop.call_soon(self._receive)
            reply = await call.reply
        except BaseException:
            self._give_up(bus, call)
            raise
        finally:
            # A failed call's exception refers to this frame. A reference back would make a cycle and keep the bus until
            # the next collection.
            del call
        if isinstance(reply, RpcError):
            try:
                raise reply
            finally:
                del reply
        return reply

    def _try_send(self, bus: RpcBus, call: Call) -> bool:
        if isinstance(call, Opening):
            return self._try_open(bus, call)
        if isinstance(call.payload, Comparison):
            number = self._calls.ask(bus, call.payload, call.left(self.loop))
        else:
            number = self._calls.send(bus, call.payload, call.type_id, call.left(self.loop))
        if number == 0:
            return False
        call.number = number
        self._in_flight[number] = call
        return True

    def _try_open(self, bus: RpcBus, call: Opening) -> bool:
        number = self._calls.open(bus, call.payload, call.type_id, call.left(self.loop), call.window)
        if number is None:
            self._openings.append(call)
            return True
        if number == 0:
            return False
        call.number = number
        self._streams[number] = call.stream = OpenStream(number, call.contract)
        call.reply.set_result(b"")
        return True

    def _give_up(self, bus: RpcBus, call: Call) -> None:
        if isinstance(call, Opening) and call.number != 0:
            self.close_stream(bus, call.number)
        elif isinstance(call, Opening) and call in self._openings:
            self._openings.remove(call)
        elif call.number != 0:
            if self._in_flight.pop(call.number, None) is not None and self._ended is None:
                # The callee knows the deadline.
                cancel = call.deadline is None or self.loop.time() < call.deadline
                # A bus that was closed meanwhile has no calls.
                with contextlib.suppress(TachyonError):
                    if self._calls.forget(bus, call.number, cancel):
                        self.loop.call_soon(self._receive)
        elif call in self._queue:
            self._queue.remove(call)

    def _look_later(self) -> None:
        """Schedule the second poll after requesting a wake-up from the callee."""
        self._armed_at = self.loop.time()
        if self._timer is None:
            self._timer = self.loop.call_later(SECOND_LOOK, self._look_again)

    def _look_again(self) -> None:
        """Poll a second time after the last request for a wake-up, as a callback of the loop."""
        self._timer = None
        left = self._armed_at + SECOND_LOOK - self.loop.time()
        if left > 0:
            self._timer = self.loop.call_later(left, self._look_again)
        else:
            self._receive(armed=True)

    def _receive(self, *, armed: bool = False) -> None:
        """Take the replies that have come, as a callback of the loop."""
        bus = self._bus()
        if bus is None or self._ended is not None:
            return
        ended: TachyonError | None = None
        more: bool | None
        try:
            more = self._calls.receive(bus, self._arrived, armed, self._wanted_room())
        except BusyError:
            # Another thread tries to use the bus and holds its lock for a moment.
            more = True
        except TachyonError as error:
            # Without its traceback, which refers to this frame.
            ended, more = copy_of(error), None
        if more:
            self.loop.call_soon(self._receive)
        elif more is not None:
            self._look_later()
        self._deliver()
        if ended is not None:
            self._end(bus, ended)
            return
        self._send_queued(bus)
        if more:
            for stream in self._streams.values():
                stream.wake_senders()

    def _wanted_room(self) -> int | None:
        """Return the bytes of the first call in the queue, or else of the first item that waits for room."""
        if not self._queue:
            # A sender that gave up would request room for ever.
            senders = (sender for stream in self._streams.values() for sender in stream.senders)
            return next((size for waiter, size in senders if size is not None and not waiter.done()), None)
        payload = self._queue[0].payload
        return 0 if isinstance(payload, Comparison) else len(payload)

    def _deliver(self) -> None:
        delivered = 0
        try:
            for number, reply in self._arrived:
                if reply is None:
                    if (stream := self._streams.get(number)) is not None:
                        stream.wake()
                    delivered += 1
                    continue
                call = self._in_flight.get(number)
                if call is not None and not call.reply.done():
                    call.reply.set_result(reply)
                self._in_flight.pop(number, None)
                delivered += 1
        finally:
            del self._arrived[:delivered]
            if self._arrived:
                # After an interrupt the loop's next turn delivers the rest.
                self.loop.call_soon(self._deliver)

    def _send_queued(self, bus: RpcBus) -> None:
        queue = self._queue
        if self._openings:
            queue.extendleft(reversed(self._openings))
            self._openings.clear()
        while queue:
            call = queue[0]
            try:
                if not call.reply.done() and not self._try_send(bus, call):
                    return
            except TachyonError as error:
                # Without its traceback, which refers to this frame, and so to the call.
                call.reply.set_exception(error.with_traceback(None))
            queue.popleft()

    def _end(self, bus: RpcBus, error: TachyonError) -> None:
        """End all calls with the error that ended the connection."""
        self._ended = error
        self.unwatch()
        for stream in self._streams.values():
            self._drain(bus, stream, error)
        for call in (*self._in_flight.values(), *self._queue, *self._openings):
            if not call.reply.done():
                # The call behind a comparison was not sent.
                sent = call.number != 0 and not isinstance(call.payload, Comparison)
                call.reply.set_exception(copy_of(error, sent=sent))
        self._in_flight.clear()
        self._queue.clear()
        self._streams.clear()
        self._openings.clear()
        for waiter in self._waiters:
            wake(waiter)
        self._waiters.clear()
        LoopCalls.release(bus)

    def _drain(self, bus: RpcBus, stream: OpenStream, error: TachyonError) -> None:
        """Take all messages of a stream whose connection has ended."""
        try:
            while stream.end is None:
                found = self._calls.take_item(bus, stream.number, stream.contract)
                if isinstance(found, bytes):
                    stream.arrived.append(found)
                elif found:
                    stream.arrived.append(self._calls.take_last(bus, stream.number, stream.contract) or b"")
                    stream.end = True
                elif found is None:
                    stream.fail(copy_of(error, sent=True))
                else:
                    stream.end = False
        except Exception as raised:  # noqa: BLE001 - also errors that the endpoint declares
            # Without its traceback, which refers to this frame.
            stream.fail(raised.with_traceback(None))
        stream.wake()

    def take_item(self, bus: RpcBus, stream: OpenStream) -> bytes | bool | None:
        """Take the next item of a stream: None when there is none yet, False after the last one.

        True stands for a reply that ends the stream, for `take_last`. Raises the error that ended the stream.
        """
        if stream.end is None:
            try:
                return self._calls.take_item(bus, stream.number, stream.contract)
            except BusyError:
                # Another thread tries to use the bus and holds its lock for a moment.
                self.loop.call_soon(stream.wake)
                return None
        if len(stream.arrived) > (stream.end is True):
            return stream.arrived.popleft()
        stream.raise_end()
        return stream.end

    def take_last(self, bus: RpcBus, stream: OpenStream) -> bytes | None:
        """Take the reply that ends a stream, and drop the items before it; None when there is none yet."""
        if stream.end is None:
            try:
                return self._calls.take_last(bus, stream.number, stream.contract)
            except BusyError:
                # As in `take_item`.
                self.loop.call_soon(stream.wake)
                return None
        stream.raise_end()
        return stream.arrived.pop() if stream.end else b""

    def send_item(
        self, bus: RpcBus, stream: OpenStream, item: bytes | None
    ) -> Literal["sent", "ended", "credit", "room"]:
        """Send an item, END for None, or say what `wait_to_send` waits for."""
        if stream.end is not None:
            return "ended"
        try:
            return self._calls.send_item(bus, stream.number, item)
        except BusyError:
            # As in `take_item`. The wait for room looks again at once.
            return "room"

    def wait_to_send(self, stream: OpenStream, room: int | None) -> asyncio.Future[None]:
        """Return a future that has a result once there may be so many bytes of room, or credit without `room`."""
        waiter: asyncio.Future[None] = self.loop.create_future()
        stream.senders = [*(sender for sender in stream.senders if not sender[0].done()), (waiter, room)]
        # Requests a wake-up.
        self.loop.call_soon(self._receive)
        return waiter

    def wait_to_read(self, stream: OpenStream) -> asyncio.Future[None]:
        """Return a future that has a result once a message may have come."""
        waiter: asyncio.Future[None] = self.loop.create_future()
        stream.readers = [*(reader for reader in stream.readers if not reader.done()), waiter]
        return waiter

    def abandon_stream(self, number: int, on_end: Callable[[], None] | None) -> None:
        """Cancel a stream that was freed, in any thread, and call its function."""
        try:
            self.loop.call_soon_threadsafe(self._abandon, number, on_end)
        except RuntimeError:
            # The loop is closed, and owns no bus.
            if on_end is not None:
                on_end()

    def _abandon(self, number: int, on_end: Callable[[], None] | None) -> None:
        bus = self._bus()
        if bus is not None:
            self.close_stream(bus, number)
        if on_end is not None:
            on_end()

    def close_stream(self, bus: RpcBus, number: int, *, cancel: bool = True) -> None:
        """Forget a stream. One that has not ended is cancelled at its callee if `cancel` is set."""
        stream = self._streams.pop(number, None)
        if stream is None:
            return
        if self._ended is None:
            # A bus that was closed meanwhile has no streams.
            with contextlib.suppress(TachyonError):
                if self._calls.forget(bus, number, cancel):
                    self.loop.call_soon(self._receive)
        stream.wake()

    @property
    def reconnects(self) -> bool:
        """Whether the bus reconnects after its connection has ended."""
        return self._calls.reconnects

    async def ended(self) -> None:
        """Wait for the end of the present connection."""
        if self._ended is None:
            waiter: asyncio.Future[None] = self.loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def release(self, bus: RpcBus) -> None:
        """End the loop's ownership: no call is in flight, and any thread or loop may use the bus next."""
        if self._ended is None:
            self._ended = BusyError("this bus was given back")
            self.released = True
            self.unwatch()
            LoopCalls.release(bus)

    def forked(self) -> None:
        """End the calls in a forked child: the connection and its replies belong to the parent."""
        bus = self._bus()
        if bus is None or self._ended is not None:
            return
        if self._renewal is not None:
            self._renewal.cancel()
        # The loop's thread may not exist in the child.
        with contextlib.suppress(RuntimeError):
            self._end(
                bus, BusClosedError("this connection belongs to the parent process; open one in the forked child")
            )

    def unwatch(self) -> None:
        """Stop watching the descriptor."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # A forked child shares its parent's epoll: removing a descriptor here would remove it in the parent.
        if self._watched >= 0 and not self.loop.is_closed() and os.getpid() == self._process:
            self.loop.remove_reader(self._watched)
        self._watched = -1

    @staticmethod
    def _collected(connection: LoopConnection | None) -> None:
        """Stop watching a bus that was freed, in any thread."""
        # The loop keeps a connection that it watches.
        if connection is not None and not connection.released:
            # The loop may close in its own thread meanwhile.
            with contextlib.suppress(RuntimeError):
                connection.loop.call_soon_threadsafe(connection.unwatch)

    async def _renew(self, bus: RpcBus, ended: TachyonError) -> None:
        """Reconnect, or raise the end of the connection. All calls share one attempt."""
        if not self._calls.reconnects or bus.closed or not isinstance(ended, LOST):
            raise copy_of(ended)
        if self._renewal is None:
            self._renewal = self.loop.create_task(self._reconnect(bus))
            # Retrieves the exception in case every waiting call has given up.
            self._renewal.add_done_callback(lambda done: done.cancelled() or done.exception())
        # A call that gives up does not cancel the attempt of the others.
        await asyncio.shield(self._renewal)

    async def _reconnect(self, bus: RpcBus) -> None:
        connecting = self._connecting = LoopReconnecting(bus)
        try:
            while (awaited := connecting.step(bus)) is not None:
                await readable(*awaited)
            self._watch(LoopCalls(bus), set())
        except BaseException:
            # No loop owns a bus that was closed meanwhile.
            with contextlib.suppress(TachyonError):
                LoopCalls.release(bus)
            raise
        finally:
            self._renewal = self._connecting = None

    def missing(self) -> TachyonError | None:
        """Return the error of a call that times out while the bus reconnects and no process listens."""
        return None if self._connecting is None else self._connecting.missing()


def wake(waiter: asyncio.Future[None]) -> None:
    """Resolve a future, unless its task was cancelled."""
    if not waiter.done():
        waiter.set_result(None)


async def readable(descriptor: int, seconds: float) -> None:
    """Wait until a descriptor (-1 for none) is readable, or these seconds have passed."""
    loop, process = asyncio.get_running_loop(), os.getpid()
    ready: asyncio.Future[None] = loop.create_future()

    timer = loop.call_later(seconds, wake, ready) if seconds < math.inf else None
    if descriptor >= 0:
        loop.add_reader(descriptor, wake, ready)
    try:
        await ready
    finally:
        if timer is not None:
            timer.cancel()
        # As in `LoopConnection.unwatch`.
        if descriptor >= 0 and os.getpid() == process:
            loop.remove_reader(descriptor)


async def connected(connecting: LoopConnecting) -> RpcBus:
    """Connect in the running loop."""
    try:
        while not isinstance(step := connecting.step(), RpcBus):
            await readable(*step)
        return step
    finally:
        # The traceback of an error refers to this frame, and may live for long.
        connecting.close()


_connections: weakref.WeakSet[LoopConnection] = weakref.WeakSet()


def loop_connection_of(bus: RpcBus) -> LoopConnection:
    """Return the connection of a bus in the running loop, which owns the bus from now on."""
    loop = asyncio.get_running_loop()
    connection: LoopConnection | None = bus.__tachyon_loop_connection__
    if connection is None or connection.released or connection.loop.is_closed():
        # A released bus keeps its connection, and so its agreements.
        agreed = connection.agreed if connection is not None and connection.released else set[int]()
        connection = bus.__tachyon_loop_connection__ = LoopConnection(bus, loop, agreed)
        _connections.add(connection)
    elif connection.loop is not loop:
        message = "this bus belongs to another event loop; open a bus for each loop"
        raise BusyError(message)
    return connection


def _forked() -> None:
    for connection in list(_connections):
        connection.forked()


os.register_at_fork(after_in_child=_forked)


def release(bus: RpcBus) -> None:
    """End the running loop's ownership of a bus, if the loop owns it."""
    connection: LoopConnection | None = bus.__tachyon_loop_connection__
    if connection is not None:
        connection.release(bus)


def copy_of(error: TachyonError, *, sent: bool = False) -> TachyonError:
    """Copy an exception: each call needs its own traceback, and its own `safe_to_retry`."""
    made = type(error)(*error.args)
    made.safe_to_retry = not sent
    return made


async def exchange_with_retries(bus: RpcBus, call: Call, contract: Contract | None, *, idempotent: bool) -> bytes:
    """Make a call, and repeat it by the core's rule."""
    connection = loop_connection_of(bus)
    attempts: Attempts | None = None
    try:
        while True:
            try:
                return await connection.exchange(bus, call, contract)
            except TachyonError as error:
                attempts = attempts or Attempts(connection.reconnects, idempotent, call.left(connection.loop))
                if bus.closed or not attempts.again(error):
                    raise
                call.begun = attempts.may_have_begun
            # A stopping callee closes the connection.
            await connection.ended()
            call.reset(connection.loop)
    finally:
        # A failed call's exception refers to this frame.
        del call


def timed_out(bus: RpcBus, call: Call) -> TachyonError:
    """Return the error of a call that timed out."""
    error = loop_connection_of(bus).missing() or copy_of(TimedOutError(TIMED_OUT), sent=call.number != 0)
    error.safe_to_retry = error.safe_to_retry and not call.begun
    return error


def deadline_after(loop: asyncio.AbstractEventLoop, timeout: float | None) -> float | None:
    """Return the deadline of a call that may take `timeout` seconds."""
    if timeout is None:
        return None
    if not timeout >= 0:
        message = f"a timeout is a number of seconds from 0 up, or None for no limit, not {timeout}"
        raise InvalidArgumentError(message)
    return loop.time() + timeout


async def exchange(bus: RpcBus, call: Call, contract: Contract | None, *, idempotent: bool) -> bytes:
    """Make a call within its deadline."""
    try:
        if call.deadline is None:
            return await exchange_with_retries(bus, call, contract, idempotent=idempotent)
        async with asyncio.timeout_at(call.deadline):
            return await exchange_with_retries(bus, call, contract, idempotent=idempotent)
    except RpcError as error:
        # The loop's clock is coarse, so the callee may see the deadline first.
        if error.kind is ErrorKind.DEADLINE_PASSED:
            raise copy_of(TimedOutError(TIMED_OUT), sent=True) from None
        raise
    except TachyonError:
        raise
    except TimeoutError:
        raise timed_out(bus, call) from None
    finally:
        del call


async def acall_within(  # noqa: PLR0913  # the parts of one call
    bus: RpcBus,
    request: AsyncRequest,
    metadata: Metadata | None,
    timeout: float | None,  # noqa: ASYNC109  # travels with the request
    *,
    idempotent: bool,
    shown: ShownCall | None = None,
) -> Any:
    """Make a call within a timeout, and show it to the layers of the bus."""
    if shown is None and (layers := bus.__tachyon_layers__) is not None:
        return await _layered(layers, bus, request, metadata, timeout, idempotent)
    payload, type_id, contract = request.payload, request.msg_type, request.contract
    if metadata is not None:
        payload, type_id = metadata.message(payload), type_id | METADATA
    try:
        loop = asyncio.get_running_loop()
        reply = await exchange(
            bus, Call(payload, type_id, deadline_after(loop, timeout), loop), contract, idempotent=idempotent
        )
    except RpcError as error:
        if contract is None or (declared := contract.declared_error(error.kind, error.payload)) is None:
            raise
        try:
            raise declared from None
        finally:
            # Its traceback refers to this frame.
            del declared
    if shown is not None:
        shown.replied(len(reply))
    return reply if contract is None else contract.decode(reply)


async def _layered(  # noqa: PLR0913, PLR0917  # the parts of one call
    layers: tuple[Any, ...],
    bus: RpcBus,
    request: AsyncRequest,
    metadata: Metadata | None,
    timeout: float | None,  # noqa: ASYNC109  # travels with the request
    idempotent: bool,  # noqa: FBT001
) -> Any:
    """Make a call that layers see."""
    shown = ShownCall(layers, request.msg_type, request.name, len(request.payload), timeout, metadata)
    try:
        return await acall_within(bus, request, shown.sent, timeout, idempotent=idempotent, shown=shown)
    except BaseException as error:
        shown.failed(error)
        raise


def acall(
    bus: RpcBus,
    request: AsyncRequest,
    metadata: Metadata | None,
    idempotent: bool,  # noqa: FBT001  # called by the extension
) -> Coroutine[Any, Any, Any]:
    """Make the call of `RpcEndpoint.acall`."""
    return acall_within(bus, request, metadata, request.timeout, idempotent=idempotent)
