"""Calls from coroutines: one `LoopConnection` for each bus on which an event loop calls.

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
from typing import TYPE_CHECKING, Any

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
    from collections.abc import Coroutine

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


class LoopConnection:
    """A bus that one event loop owns, with its calls in flight and the calls that wait for room."""

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
        self._arrived: list[tuple[int, bytes | RpcError]] = []
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
        if isinstance(call.payload, Comparison):
            number = self._calls.ask(bus, call.payload)
        else:
            number = self._calls.send(bus, call.payload, call.type_id, call.left(self.loop))
        if number == 0:
            return False
        call.number = number
        self._in_flight[number] = call
        return True

    def _give_up(self, bus: RpcBus, call: Call) -> None:
        if call.number != 0:
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
        if ended is None:
            self._send_queued(bus)
        else:
            self._end(bus, ended)

    def _wanted_room(self) -> int | None:
        """Return the bytes of the first call in the queue."""
        if not self._queue:
            return None
        payload = self._queue[0].payload
        return 0 if isinstance(payload, Comparison) else len(payload)

    def _deliver(self) -> None:
        delivered = 0
        try:
            for number, reply in self._arrived:
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
        while queue:
            call = queue[0]
            try:
                if not call.reply.done() and not self._try_send(bus, call):
                    return
            except TachyonError as error:
                call.reply.set_exception(error)
            queue.popleft()

    def _end(self, bus: RpcBus, error: TachyonError) -> None:
        """End all calls with the error that ended the connection."""
        self._ended = error
        self.unwatch()
        for call in (*self._in_flight.values(), *self._queue):
            if not call.reply.done():
                # The call behind a comparison was not sent.
                sent = call.number != 0 and not isinstance(call.payload, Comparison)
                call.reply.set_exception(copy_of(error, sent=sent))
        self._in_flight.clear()
        self._queue.clear()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
        LoopCalls.release(bus)

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


async def readable(descriptor: int, seconds: float) -> None:
    """Wait until a descriptor (-1 for none) is readable, or these seconds have passed."""
    loop, process = asyncio.get_running_loop(), os.getpid()
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    timer = loop.call_later(seconds, tell) if seconds < math.inf else None
    if descriptor >= 0:
        loop.add_reader(descriptor, tell)
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


async def _exchange(  # noqa: PLR0913, PLR0917  # the parts of one call
    bus: RpcBus,
    payload: bytes,
    type_id: int,
    idempotent: bool,  # noqa: FBT001
    timeout: float | None,  # noqa: ASYNC109  # travels with the request
    contract: Contract | None,
) -> bytes:
    """Make a call within its timeout."""
    loop = asyncio.get_running_loop()
    if timeout is None:
        return await exchange_with_retries(bus, Call(payload, type_id, None, loop), contract, idempotent=idempotent)
    if not timeout >= 0:
        message = f"a timeout is a number of seconds from 0 up, or None for no limit, not {timeout}"
        raise InvalidArgumentError(message)
    call = Call(payload, type_id, loop.time() + timeout, loop)
    try:
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
        reply = await _exchange(bus, payload, type_id, idempotent, timeout, contract)
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
