"""Calls from coroutines: one `Line` for each bus that an event loop calls on.

The loop watches one descriptor per bus, which is readable when replies or room have come. Everything here runs in the
loop's thread and never waits; only connecting again, which does, is left to a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, TypeVar, cast

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
    from collections.abc import Callable

    from tachyon._tachyon import Contract

_T = TypeVar("_T")

LOST = (PeerClosedError, PeerDeadError)
"""How a connection ends that may be followed by another one."""

SECOND_LOOK = 0.01
"""Seconds from asking the callee to ring until the loop looks once more; see `wait` in the core."""

TIMED_OUT = "timed out waiting for the peer; the connection stays usable, try again or with more time"


class Call:
    """One request: queued while `number` is 0, then under way."""

    __slots__ = ("deadline", "msg_type", "number", "payload", "reply")

    def __init__(
        self,
        payload: bytes | Comparison,
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

    def __init__(self, bus: RpcBus, loop: asyncio.AbstractEventLoop, agreed: set[int]) -> None:
        """Take the bus for the loop; the contracts `agreed` were compared on its connection before."""
        self.loop = loop
        self.released = False
        self._process = os.getpid()
        # Neither a bus nor its line is in a cycle: what they have of the system goes with the last who has the bus, and
        # not when the collector comes by.
        line = weakref.ref(self)
        self._bus = weakref.ref(bus, lambda _: Line._collected(line()))
        self._under_way: dict[int, Call] = {}
        self._queue: deque[Call] = deque()
        self._arrived: list[tuple[int, bytes | RpcError]] = []
        self._renewal: asyncio.Task[None] | None = None
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
        finally:
            # A failed call's exception has this frame, and must not be had by it: the bus would stay until the
            # collector comes by.
            del call
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
            # The callee was asked to ring for room.
            self._look_later()
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
            more = self._calls.receive(bus, self._arrived, armed)
        except BusyError:
            # A thread that has no business here holds the bus for a moment.
            more = True
        except TachyonError as error:
            # Without its traceback, which has this frame.
            ended, more = anew(error), None
        if more:
            self.loop.call_soon(self._receive)
        elif more is not None:
            self._look_later()
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
            except TachyonError as error:
                call.reply.set_exception(error)
            queue.popleft()

    def _end(self, bus: RpcBus, error: TachyonError) -> None:
        """Tell everybody that the connection has ended."""
        self._ended = error
        self.unwatch()
        for call in (*self._under_way.values(), *self._queue):
            if not call.reply.done():
                call.reply.set_exception(anew(error))
        self._under_way.clear()
        self._queue.clear()
        LoopCalls.let_go(bus)

    def release(self, bus: RpcBus) -> None:
        """Give the bus back: no call is under way, and any thread or loop may use it next."""
        if self._ended is None:
            self._ended = BusyError("this bus was given back")
            self.released = True
            self.unwatch()
            LoopCalls.let_go(bus)

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
    def _collected(line: Line | None) -> None:
        """Take note that nobody has the bus of a line any more, in whatever thread that is found out."""
        # As long as the loop watches a line, it has it.
        if line is not None and not line.released:
            # The loop may be closing in its own thread.
            with contextlib.suppress(RuntimeError):
                line.loop.call_soon_threadsafe(line.unwatch)

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
            self._watch(await beside(self.loop, lambda: LoopCalls.reconnect(bus)), set())
        finally:
            self._renewal = None


_lines: weakref.WeakKeyDictionary[RpcBus, Line] = weakref.WeakKeyDictionary()


def line_of(bus: RpcBus) -> Line:
    """Return the line of a bus in the running loop, which has it from now on."""
    loop = asyncio.get_running_loop()
    line = _lines.get(bus)
    if line is None or line.released or line.loop.is_closed():
        # A bus that was released has the same connection as before.
        agreed = line.agreed if line is not None and line.released else set[int]()
        line = _lines[bus] = Line(bus, loop, agreed)
    elif line.loop is not loop:
        message = "this bus belongs to another event loop; open one for each loop"
        raise BusyError(message)
    return line


def release(bus: RpcBus) -> None:
    """Give a bus back that the running loop has, if it has it."""
    line = _lines.get(bus)
    if line is not None:
        line.release(bus)


def beside(loop: asyncio.AbstractEventLoop, operation: Callable[[], _T]) -> asyncio.Future[_T]:
    """Run an operation that waits in a thread of its own.

    A thread of the loop's executor would be joined when the loop ends, and keep Ctrl-C waiting for as long as it does.
    """
    outcome: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(cast("_T", result))

    def run() -> None:
        result, error = None, None
        try:
            result = operation()
        except BaseException as raised:  # noqa: BLE001  # is raised where the outcome is awaited
            error = raised
        # The loop may have been closed meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="tachyon-reconnect", daemon=True).start()
    return outcome


def anew(error: TachyonError) -> TachyonError:
    """Make an exception anew, so that everybody who gets it has a traceback of their own."""
    return type(error)(*error.args)


async def persist(  # noqa: PLR0913, PLR0917  # called by what is called by the core
    bus: RpcBus, payload: bytes, msg_type: int, deadline: float | None, resends: int, contract: Contract | None
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
        finally:
            del call


async def exchange(  # noqa: PLR0913, PLR0917  # called by the core
    bus: RpcBus,
    payload: bytes,
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
    except RpcError as error:
        # The callee may find out first, for the loop's clock is a coarse one.
        if error.kind is ErrorKind.DEADLINE_PASSED:
            raise TimedOutError(TIMED_OUT) from None
        raise
    except TachyonError:
        raise
    except TimeoutError:
        raise TimedOutError(TIMED_OUT) from None


async def acall_typed(  # noqa: PLR0913, PLR0917  # called by the core
    bus: RpcBus,
    payload: bytes,
    msg_type: int,
    resends: int,
    timeout: float | None,  # noqa: ASYNC109  # travels with the request
    contract: Contract,
) -> object:
    """Do what `RpcEndpoint.acall` says, for an endpoint that takes or gives more than bytes."""
    try:
        reply = await exchange(bus, payload, msg_type, resends, timeout, contract)
    except RpcError as error:
        if (declared := contract.declared_error(error.kind, error.payload)) is None:
            raise
        raise declared from None
    return contract.decode(reply)
