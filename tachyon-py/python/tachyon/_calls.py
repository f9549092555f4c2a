"""Calls from coroutines: one `Line` for each bus that an event loop calls on.

The loop watches one descriptor per bus, which is readable when replies or room have come. Everything here runs in the
loop's thread and never waits; only connecting again, which does, is left to a thread of the loop's executor.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
from typing import TYPE_CHECKING

from tachyon._tachyon import Comparison, LoopCalls, RpcBus
from tachyon.errors import (
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
    from typing_extensions import Buffer

    from tachyon._contract import Contract

LOST = (PeerClosedError, PeerDeadError)
"""How a connection ends that may be followed by another one."""


class Call:
    """One request: queued while `number` is 0, then under way."""

    __slots__ = ("deadline", "msg_type", "number", "payload", "reply")

    def __init__(
        self,
        payload: Buffer | Comparison,
        msg_type: int,
        deadline: float | None,
        reply: asyncio.Future[bytes | RpcError],
    ) -> None:
        """Describe a request that is due when the loop's clock shows `deadline`, or a comparison's next question."""
        self.payload = payload
        self.msg_type = msg_type
        self.deadline = deadline
        self.reply = reply
        self.number = 0


class Line:
    """A bus in the hands of one event loop, with the calls under way on it and those that wait for room."""

    def __init__(self, bus: RpcBus, loop: asyncio.AbstractEventLoop) -> None:
        """Take the bus for the loop."""
        self.loop = loop
        self._bus = weakref.ref(bus, self._collected)
        self._under_way: dict[int, Call] = {}
        self._queue: deque[Call] = deque()
        self._arrived: list[tuple[int, bytes | RpcError]] = []
        self._renewal: asyncio.Task[None] | None = None
        self._watch(LoopCalls(bus))

    def _watch(self, calls: LoopCalls) -> None:
        self._calls = calls
        self._ended: TachyonError | None = None
        # The contracts that the callee of this connection means as they are meant here.
        self._agreed: set[int] = set()
        self._watched = calls.fileno()
        self.loop.add_reader(self._watched, self._receive)
        # Arms the bells: from now on the peer rings.
        self._receive()

    async def exchange(self, bus: RpcBus, call: Call, contract: Contract | None) -> bytes:
        """Send a request and await its reply; the callee of this connection means the same by it."""
        while True:
            if self._ended is not None:
                await self._renew(bus, self._ended)
            # What was agreed on one connection says nothing about the next, which may have come by now.
            agreed = self._agreed
            if contract is None or not contract.typed or contract.key in agreed:
                return await self._exchange(bus, call)
            await self._agree(bus, contract, call)
            agreed.add(contract.key)

    async def _agree(self, bus: RpcBus, contract: Contract, call: Call) -> None:
        """Compare a contract with the callee's."""
        comparison = Comparison(contract.describe(call.msg_type))
        try:
            while True:
                question = Call(comparison, call.msg_type, call.deadline, self.loop.create_future())
                if comparison.take(await self._exchange(bus, question)):
                    return
        except RpcError as error:
            # One that says nothing about its endpoints is taken at its word.
            if error.kind is not ErrorKind.NO_HANDLER:
                raise
        except TooLargeError:
            # A ring too small for the question belongs to a peer that was never meant to be asked.
            pass

    async def _exchange(self, bus: RpcBus, call: Call) -> bytes:
        """Send a request and await its reply; forget it if that is not to be."""
        try:
            if self._queue or not self._try_send(bus, call):
                self._queue.append(call)
            reply = await call.reply
        except BaseException:
            self._give_up(bus, call)
            raise
        if isinstance(reply, RpcError):
            raise reply
        return reply

    def _try_send(self, bus: RpcBus, call: Call) -> bool:
        if isinstance(call.payload, Comparison):
            call.number = self._calls.ask(bus, call.payload)
        else:
            left = None if call.deadline is None else max(0.0, call.deadline - self.loop.time())
            call.number = self._calls.send(bus, call.payload, call.msg_type, left)
        if call.number == 0:
            return False
        self._under_way[call.number] = call
        return True

    def _give_up(self, bus: RpcBus, call: Call) -> None:
        if call.number != 0:
            if self._under_way.pop(call.number, None) is not None and self._ended is None:
                # A bus that was closed meanwhile has forgotten everything.
                with contextlib.suppress(TachyonError):
                    self._calls.forget(bus, call.number)
        elif call in self._queue:
            self._queue.remove(call)

    def _receive(self) -> None:
        """Take what has come, as a callback of the loop."""
        bus = self._bus()
        if bus is None or self._ended is not None:
            return
        ended: TachyonError | None = None
        try:
            more = self._calls.receive(bus, self._arrived)
        except BusyError:
            # A thread that has no business here holds the bus for a moment.
            more = True
        except TachyonError as error:
            ended, more = error, False
        if more:
            self.loop.call_soon(self._receive)
        self._deliver()
        if ended is None:
            self._send_queued(bus)
        else:
            self._end(bus, ended)

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
            except (TachyonError, BufferError, TypeError) as error:
                call.reply.set_exception(error)
            queue.popleft()

    def _end(self, bus: RpcBus, error: TachyonError) -> None:
        """Tell everybody that the connection has ended."""
        self._ended = error
        self._unwatch()
        for call in (*self._under_way.values(), *self._queue):
            if not call.reply.done():
                call.reply.set_exception(anew(error))
        self._under_way.clear()
        self._queue.clear()
        LoopCalls.let_go(bus)

    def _unwatch(self) -> None:
        if self._watched >= 0 and not self.loop.is_closed():
            self.loop.remove_reader(self._watched)
        self._watched = -1

    def _collected(self, _: weakref.ref[RpcBus]) -> None:
        """Take note that nobody has the bus any more, in whatever thread that is found out."""
        # The loop may be closing in its own thread.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._unwatch)

    async def _renew(self, bus: RpcBus, ended: TachyonError) -> None:
        """Connect again, or say why not. One attempt at a time, for all who want it."""
        if not self._calls.reconnects or bus.closed or not isinstance(ended, LOST):
            raise anew(ended)
        if self._renewal is None:
            self._renewal = self.loop.create_task(self._reconnect(bus))
            # All who waited may have given up; then nobody misses the exception.
            self._renewal.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Whoever gives up waiting does not keep the others from a connection.
        await asyncio.shield(self._renewal)

    async def _reconnect(self, bus: RpcBus) -> None:
        try:
            self._watch(await self.loop.run_in_executor(None, LoopCalls.reconnect, bus))
        finally:
            self._renewal = None


_lines: weakref.WeakKeyDictionary[RpcBus, Line] = weakref.WeakKeyDictionary()


def line_of(bus: RpcBus) -> Line:
    """Return the line of a bus in the running loop, which has it from now on."""
    loop = asyncio.get_running_loop()
    line = _lines.get(bus)
    if line is None or line.loop.is_closed():
        line = _lines[bus] = Line(bus, loop)
    elif line.loop is not loop:
        message = "this bus belongs to another event loop; open one for each loop"
        raise BusyError(message)
    return line


def anew(error: TachyonError) -> TachyonError:
    """Make an exception anew, so that everybody who gets it has a traceback of their own."""
    return type(error)(*error.args)


async def persist(  # noqa: PLR0913, PLR0917  # called by what is called by the core
    bus: RpcBus, payload: Buffer, msg_type: int, deadline: float | None, resends: int, contract: Contract | None
) -> bytes:
    """Make a call, and once more for each of `resends` when its connection is lost."""
    line = line_of(bus)
    while True:
        call = Call(payload, msg_type, deadline, line.loop.create_future())
        try:
            return await line.exchange(bus, call, contract)
        except LOST:
            if resends == 0 or bus.closed:
                raise
            resends -= 1


async def exchange(  # noqa: PLR0913, PLR0917  # called by the core
    bus: RpcBus,
    payload: Buffer,
    msg_type: int,
    resends: int,
    timeout: float | None,  # noqa: ASYNC109  # travels with the request
    contract: Contract | None,
) -> bytes:
    """Make a call within its time."""
    if timeout is None:
        return await persist(bus, payload, msg_type, None, resends, contract)
    if not timeout >= 0:
        message = f"a timeout is a number of seconds from 0 up, or None for no limit, not {timeout}"
        raise InvalidArgumentError(message)
    deadline = asyncio.get_running_loop().time() + timeout
    try:
        async with asyncio.timeout_at(deadline):
            return await persist(bus, payload, msg_type, deadline, resends, contract)
    except TachyonError:
        raise
    except TimeoutError:
        message = "timed out waiting for the peer; the connection stays usable, try again or with more time"
        raise TimedOutError(message) from None


async def acall_typed(  # noqa: PLR0913, PLR0917  # called by the core
    bus: RpcBus,
    value: object,
    msg_type: int,
    resends: int,
    timeout: float | None,  # noqa: ASYNC109  # travels with the request
    contract: Contract,
) -> object:
    """Do what `RpcEndpoint.acall` says, for an endpoint that takes or gives more than bytes."""
    return contract.decode(await exchange(bus, contract.encode(value), msg_type, resends, timeout, contract))
