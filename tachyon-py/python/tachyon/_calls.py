"""Calls from coroutines: one `LoopConnection` for each bus that an event loop calls on.

The loop watches one descriptor per bus, which is readable when replies or room have come. Everything here runs in the
loop's thread and never waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import weakref
from collections import deque
from typing import TYPE_CHECKING

from tachyon._tachyon import Attempts, Comparison, LoopCalls, LoopReconnecting, RpcBus
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

if TYPE_CHECKING:
    from tachyon._tachyon import Contract

LOST = (PeerClosedError, PeerDeadError)
"""How a connection ends that may be followed by another one."""

SECOND_LOOK = 0.01
"""Seconds from asking the callee to ring until the loop looks once more; see `wait` in the core."""

TIMED_OUT = "timed out waiting for the peer; the connection stays usable, allow more time"


class Call:
    """One request: queued while `number` is 0, then under way."""

    __slots__ = ("begun", "deadline", "msg_type", "number", "payload", "reply")

    def __init__(
        self,
        payload: bytes | Comparison,
        msg_type: int,
        deadline: float | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Describe a request that is due when the loop's clock shows `deadline`, or a comparison's next question."""
        self.payload = payload
        self.msg_type = msg_type
        self.deadline = deadline
        # Whether an earlier attempt may have begun.
        self.begun = False
        self.reset(loop)

    def reset(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin another attempt."""
        self.reply: asyncio.Future[bytes | RpcError] = loop.create_future()
        self.number = 0

    def left(self, loop: asyncio.AbstractEventLoop) -> float | None:
        """Return the seconds until it is due."""
        return None if self.deadline is None else max(0.0, self.deadline - loop.time())


class LoopConnection:
    """A bus in the hands of one event loop, with the calls under way on it and those that wait for room."""

    def __init__(self, bus: RpcBus, loop: asyncio.AbstractEventLoop, agreed: set[int]) -> None:
        """Take the bus for the loop; the contracts `agreed` were compared on its connection before."""
        self.loop = loop
        self.released = False
        self._process = os.getpid()
        # While no call is under way neither a bus nor its connection is in a cycle: what they have of the system goes with
        # the last who has the bus, and not when the collector comes by.
        connection = weakref.ref(self)
        self._bus = weakref.ref(bus, lambda _: LoopConnection._collected(connection()))
        self._under_way: dict[int, Call] = {}
        self._queue: deque[Call] = deque()
        self._arrived: list[tuple[int, bytes | RpcError]] = []
        self._renewal: asyncio.Task[None] | None = None
        self._connecting: LoopReconnecting | None = None
        self._waiters: list[asyncio.Future[None]] = []
        # The callee was last asked to ring at this time; `SECOND_LOOK` later the loop looks once more.
        self._armed_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._watch(LoopCalls(bus), agreed)

    def _watch(self, calls: LoopCalls, agreed: set[int]) -> None:
        self._calls = calls
        self._ended: TachyonError | None = None
        # The contracts that the callee of this connection means as they are meant here.
        self.agreed = agreed
        self._watched = calls.fileno()
        self.loop.add_reader(self._watched, self._receive)
        # From now on the peer rings.
        self._receive()

    async def exchange(self, bus: RpcBus, call: Call, contract: Contract | None) -> bytes:
        """Send a request and await its reply; the callee of this connection means the same by it."""
        try:
            while True:
                if self._ended is not None:
                    await self._renew(bus, self._ended)
                # What was agreed on one connection says nothing about the next, which may have come by now.
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
            question = Call(comparison, call.msg_type, call.deadline, self.loop)
            try:
                answer = await self._exchange(bus, question)
            except TooLargeError:
                # A ring too small for the question belongs to a peer that was never meant to be asked.
                return
            except RpcError as error:
                done = comparison.take(error)
            else:
                done = comparison.take(answer)
            if done:
                return

    async def _exchange(self, bus: RpcBus, call: Call) -> bytes:
        """Send a request and await its reply; forget it if that is not to be."""
        try:
            if self._queue or not self._try_send(bus, call):
                self._queue.append(call)
                # The callee is asked to ring for room.
                self.loop.call_soon(self._receive)
            reply = await call.reply
        except BaseException:
            self._give_up(bus, call)
            raise
        finally:
            # A failed call's exception has this frame, and must not be had by it: the bus would stay until the
            # collector comes by.
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
            number = self._calls.send(bus, call.payload, call.msg_type, call.left(self.loop))
        if number == 0:
            return False
        call.number = number
        self._under_way[number] = call
        return True

    def _give_up(self, bus: RpcBus, call: Call) -> None:
        if call.number != 0:
            if self._under_way.pop(call.number, None) is not None and self._ended is None:
                # The callee knows of a deadline by itself.
                cancel = call.deadline is None or self.loop.time() < call.deadline
                # A bus that was closed meanwhile has forgotten everything.
                with contextlib.suppress(TachyonError):
                    if self._calls.forget(bus, call.number, cancel):
                        self.loop.call_soon(self._receive)
        elif call in self._queue:
            self._queue.remove(call)

    def _look_later(self) -> None:
        """Take note that the callee was asked to ring just now."""
        self._armed_at = self.loop.time()
        if self._timer is None:
            self._timer = self.loop.call_later(SECOND_LOOK, self._look_again)

    def _look_again(self) -> None:
        """Take the second look after the latest asking, as a callback of the loop."""
        self._timer = None
        left = self._armed_at + SECOND_LOOK - self.loop.time()
        if left > 0:
            self._timer = self.loop.call_later(left, self._look_again)
        else:
            self._receive(armed=True)

    def _receive(self, *, armed: bool = False) -> None:
        """Take what has come, as a callback of the loop."""
        bus = self._bus()
        if bus is None or self._ended is not None:
            return
        ended: TachyonError | None = None
        more: bool | None
        try:
            more = self._calls.receive(bus, self._arrived, armed, self._wanted_room())
        except BusyError:
            # A thread that has no business here holds the bus for a moment.
            more = True
        except TachyonError as error:
            # Without its traceback, which has this frame.
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
        """Return the bytes that the first call in the queue takes."""
        if not self._queue:
            return None
        payload = self._queue[0].payload
        return 0 if isinstance(payload, Comparison) else len(payload)

    def _deliver(self) -> None:
        delivered = 0
        try:
            for number, reply in self._arrived:
                call = self._under_way.get(number)
                if call is not None and not call.reply.done():
                    call.reply.set_result(reply)
                self._under_way.pop(number, None)
                delivered += 1
        finally:
            del self._arrived[:delivered]
            if self._arrived:
                # An interrupt came in between; the rest is for the loop's next turn.
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
        """Tell everybody that the connection has ended."""
        self._ended = error
        self.unwatch()
        for call in (*self._under_way.values(), *self._queue):
            if not call.reply.done():
                call.reply.set_exception(copy_of(error, sent=call.number != 0))
        self._under_way.clear()
        self._queue.clear()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
        LoopCalls.release(bus)

    @property
    def reconnects(self) -> bool:
        """Whether the bus connects again when its connection has ended."""
        return self._calls.reconnects

    async def ended(self) -> None:
        """Wait for the end of the present connection."""
        if self._ended is None:
            waiter: asyncio.Future[None] = self.loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def release(self, bus: RpcBus) -> None:
        """Give the bus back: no call is under way, and any thread or loop may use it next."""
        if self._ended is None:
            self._ended = BusyError("this bus was given back")
            self.released = True
            self.unwatch()
            LoopCalls.release(bus)

    def forked(self) -> None:
        """End what is under way, in a forked child: the parent has the connection, and hears the callee."""
        bus = self._bus()
        if bus is None or self._ended is not None:
            return
        if self._renewal is not None:
            self._renewal.cancel()
        # The loop may run in a thread that the child does not have.
        with contextlib.suppress(RuntimeError):
            self._end(
                bus, BusClosedError("this connection belongs to the parent process; open one in the forked child")
            )

    def unwatch(self) -> None:
        """Have the loop look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # A forked child has its parent's epoll, and what it took out would be missing there.
        if self._watched >= 0 and not self.loop.is_closed() and os.getpid() == self._process:
            self.loop.remove_reader(self._watched)
        self._watched = -1

    @staticmethod
    def _collected(connection: LoopConnection | None) -> None:
        """Take note that nobody has the bus of a connection any more, in whatever thread that is found out."""
        # As long as the loop watches a connection, it has it.
        if connection is not None and not connection.released:
            # The loop may be closing in its own thread.
            with contextlib.suppress(RuntimeError):
                connection.loop.call_soon_threadsafe(connection.unwatch)

    async def _renew(self, bus: RpcBus, ended: TachyonError) -> None:
        """Connect again, or say why not. One attempt at a time, for all who want it."""
        if not self._calls.reconnects or bus.closed or not isinstance(ended, LOST):
            raise copy_of(ended)
        if self._renewal is None:
            self._renewal = self.loop.create_task(self._reconnect(bus))
            # All who waited may have given up; then nobody misses the exception.
            self._renewal.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Whoever gives up waiting does not keep the others from a connection.
        await asyncio.shield(self._renewal)

    async def _reconnect(self, bus: RpcBus) -> None:
        connecting = self._connecting = LoopReconnecting(bus)
        try:
            while (awaited := connecting.step(bus)) is not None:
                await readable(*awaited)
            self._watch(LoopCalls(bus), set())
        except BaseException:
            # A bus that was closed meanwhile belongs to no loop.
            with contextlib.suppress(TachyonError):
                LoopCalls.release(bus)
            raise
        finally:
            self._renewal = self._connecting = None

    def missing(self) -> TachyonError | None:
        """Return the error of a call whose time runs out while the bus connects again and no process listens."""
        return None if self._connecting is None else self._connecting.missing()


async def readable(descriptor: int, seconds: float) -> None:
    """Wait until a descriptor, which may be -1 for none, is readable, or these seconds have passed."""
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


_connections: weakref.WeakSet[LoopConnection] = weakref.WeakSet()


def loop_connection_of(bus: RpcBus) -> LoopConnection:
    """Return the connection of a bus in the running loop, which has it from now on."""
    loop = asyncio.get_running_loop()
    connection: LoopConnection | None = bus.__tachyon_loop_connection__
    if connection is None or connection.released or connection.loop.is_closed():
        # A bus that was released has the same connection as before.
        agreed = connection.agreed if connection is not None and connection.released else set[int]()
        connection = bus.__tachyon_loop_connection__ = LoopConnection(bus, loop, agreed)
        _connections.add(connection)
    elif connection.loop is not loop:
        message = "this bus belongs to another event loop; open one for each loop"
        raise BusyError(message)
    return connection


def _forked() -> None:
    for connection in list(_connections):
        connection.forked()


os.register_at_fork(after_in_child=_forked)


def release(bus: RpcBus) -> None:
    """Give a bus back that the running loop has, if it has it."""
    connection: LoopConnection | None = bus.__tachyon_loop_connection__
    if connection is not None:
        connection.release(bus)


def copy_of(error: TachyonError, *, sent: bool = False) -> TachyonError:
    """Copy an exception, so that each call has a traceback of its own, and says whether it had been sent."""
    made = type(error)(*error.args)
    made.safe_to_retry = not sent
    return made


async def exchange_with_retries(bus: RpcBus, call: Call, contract: Contract | None, *, idempotent: bool) -> bytes:
    """Make a call, and again where that is worth it."""
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
            # A callee that stops closes soon.
            await connection.ended()
            call.reset(connection.loop)
    finally:
        # A failed call's exception has this frame.
        del call


def timed_out(bus: RpcBus, call: Call) -> TachyonError:
    """Return the error of a call whose time is up."""
    late = loop_connection_of(bus).missing() or copy_of(TimedOutError(TIMED_OUT), sent=call.number != 0)
    late.safe_to_retry = late.safe_to_retry and not call.begun
    return late


async def exchange(  # noqa: PLR0913, PLR0917  # called by the core
    bus: RpcBus,
    payload: bytes,
    msg_type: int,
    idempotent: bool,  # noqa: FBT001  # called by the core
    timeout: float | None,  # noqa: ASYNC109  # travels with the request
    contract: Contract | None,
) -> bytes:
    """Make a call within its time."""
    loop = asyncio.get_running_loop()
    if timeout is None:
        return await exchange_with_retries(bus, Call(payload, msg_type, None, loop), contract, idempotent=idempotent)
    if not timeout >= 0:
        message = f"a timeout is a number of seconds from 0 up, or None for no limit, not {timeout}"
        raise InvalidArgumentError(message)
    call = Call(payload, msg_type, loop.time() + timeout, loop)
    try:
        async with asyncio.timeout_at(call.deadline):
            return await exchange_with_retries(bus, call, contract, idempotent=idempotent)
    except RpcError as error:
        # The callee may find out first, for the loop's clock is a coarse one.
        if error.kind is ErrorKind.DEADLINE_PASSED:
            raise copy_of(TimedOutError(TIMED_OUT), sent=True) from None
        raise
    except TachyonError:
        raise
    except TimeoutError:
        raise timed_out(bus, call) from None
    finally:
        del call


async def acall_typed(  # noqa: PLR0913, PLR0917  # called by the core
    bus: RpcBus,
    payload: bytes,
    msg_type: int,
    idempotent: bool,  # noqa: FBT001  # called by the core
    timeout: float | None,  # noqa: ASYNC109  # travels with the request
    contract: Contract,
) -> object:
    """Do what `RpcEndpoint.acall` says, for an endpoint that takes or gives more than bytes."""
    try:
        reply = await exchange(bus, payload, msg_type, idempotent, timeout, contract)
    except RpcError as error:
        if (declared := contract.declared_error(error.kind, error.payload)) is None:
            raise
        try:
            raise declared from None
        finally:
            # Its traceback has this frame.
            del declared
    return contract.decode(reply)
