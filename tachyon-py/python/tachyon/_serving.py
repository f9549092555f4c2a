"""Serving from a coroutine: one `Service` for each `aserve`.

The loop watches one descriptor, which is readable when a caller needs a turn. Plain handlers run in the turn that finds
their request; coroutine functions become tasks, and a task that ends answers its caller. The task of a stream sends
the items of its handler, and waits while their caller takes none.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
from typing import TYPE_CHECKING, Any

from tachyon._context import task_call
from tachyon._signals import install
from tachyon._tachyon import LoopRequest, LoopServing, LoopStream, RpcBus, RpcDispatcher, RpcServer
from tachyon.errors import BadReplyError, BusyError, HandlersLeftError, PeerDeadError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable

RETRY = 0.001
"""Seconds between two attempts that a thread or a caller blocks."""

GRACE = 0.1
"""Seconds that cancelled handlers of a stopping server have to end."""


class _Items:
    """The items that the caller of a stream sends, for a handler of the event loop."""

    def __init__(self, handler: _StreamHandler) -> None:
        self._handler = handler

    def __aiter__(self) -> _Items:
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - a value of the hint
        while (found := self._handler.stream.take()) is None:
            await self._handler.wait()
        return found[0]


class _StreamHandler:
    """The task that runs the handler of a stream."""

    def __init__(self, stream: LoopStream) -> None:
        self.stream = stream
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Let a wait go on: the caller has sent or taken an item, or the stream is over."""
        self._woken.set()

    async def wait(self) -> None:
        """Wait for `wake`, after an attempt that found the stream not ready."""
        self._woken.clear()
        await self._woken.wait()

    async def run(self) -> None:
        """Run the handler to its end, and end the stream."""
        stream = self.stream
        try:
            made: Any = stream.start(_Items(self) if stream.takes_items else None)
            if stream.streams:
                await self._send_all(made)
                stream.finish(None)
            else:
                stream.finish(await made)
        except BaseException as error:
            # Drops this frame, as `Service._handle` does.
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                error = error.with_traceback(error.__traceback__.tb_next)
            stream.fail(error)
            if not isinstance(error, Exception):
                raise
        finally:
            stream.close()

    async def _send_all(self, made: Any) -> None:  # noqa: ANN401 - as the handler returned it
        """Send the items of an asynchronous iterator, and close it."""
        try:
            items: AsyncIterator[Any] = aiter(made)
        except TypeError:
            message = (
                f"{self.stream.name}: the handler returned {type(made).__name__}, which is no asynchronous iterator; "
                "`yield` the items"
            )
            raise BadReplyError(message) from None
        try:
            async for item in items:
                encoded = self.stream.encode(item)
                while not self.stream.send(encoded):
                    await self.wait()
        finally:
            await self._close(items)

    async def _close(self, items: AsyncIterator[Any]) -> None:
        close = getattr(items, "aclose", None)
        if close is None:
            return
        try:
            await close()
        except Exception as error:
            text = f"the handler '{self.stream.name}' failed as its stream was closed: {type(error).__name__}: {error}"
            logging.getLogger("tachyon").exception("%s", text)


class Service:
    """A server, or a bus, that one event loop serves."""

    def __init__(self, serving: LoopServing, concurrency: int) -> None:
        """Prepare to serve with at most `concurrency` tasks."""
        self._serving = serving
        self._concurrency = concurrency
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._taken: list[LoopRequest | LoopStream] = []
        self._cancelled: list[tuple[int, int]] = []
        self._tasks: dict[asyncio.Task[None], LoopRequest | LoopStream] = {}
        # Calls in flight, by the keys of their requests.
        self._calls: dict[tuple[int, int], asyncio.Task[None]] = {}
        # Handlers of open streams and their tasks, by the keys of the streams.
        self._streams: dict[tuple[int, int], tuple[_StreamHandler, asyncio.Task[None]]] = {}
        self._due: asyncio.Handle | None = None
        # Whether `_due` runs in the loop's next round.
        self._turn_is_next = False
        # Whether the serving was cancelled while it waited for handlers at its end.
        self._cut_short = False

    async def run(self) -> None:
        """Serve until the peer closes or the server is stopped."""
        watched = self._serving.fileno()
        try:
            if watched >= 0:
                self._loop.add_reader(watched, self._turn)
                self._turn()
                await self._over
        finally:
            # A forked child shares its parent's epoll: removing a descriptor here would remove it in the parent.
            if watched >= 0 and os.getpid() == self._process:
                self._loop.remove_reader(watched)
            if self._due is not None:
                self._due.cancel()
            try:
                await self._finish()
            finally:
                self._serving.close()
                # Its error has a traceback, which refers to this frame.
                self._over = self._loop.create_future()
                self._over.cancel()

    def _turn(self) -> None:
        """Take a turn, as a callback of the loop."""
        self._turn_is_next = False
        if self._over.done():
            return
        try:
            places = max(self._concurrency - len(self._tasks), 0)
            wait = self._serving.turn(self._taken, self._cancelled, places)
        except BusyError:
            # Another thread registers a handler meanwhile.
            wait = RETRY
        except PeerDeadError as error:
            # Requests of this turn still begin, and are cancelled in good order with the rest. The error loses its
            # traceback: this frame refers to the last request, and asyncio keeps the error of its main task in a cycle.
            self._fail(error.with_traceback(None))
            wait = None
        except BaseException as error:
            self._fail(error)
            # The loop propagates these two, and would report another exception as a failed callback.
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            return
        for request in self._taken:
            if isinstance(request, LoopStream):
                self._open(request)
            else:
                self._start(request)
        self._taken.clear()
        self._cancel()
        if self._over.done():
            return
        if wait is not None and wait < 0:
            self._over.set_result(None)
        else:
            self._schedule(wait)

    def _fail(self, error: BaseException) -> None:
        """End the serving with an error, unless a signal's handler has cancelled the serving meanwhile."""
        if not self._over.done():
            self._over.set_exception(error)

    def _cancel(self) -> None:
        """Cancel the tasks of calls whose callers have stopped waiting, and wake those of streams that can go on."""
        for key in self._cancelled:
            task = self._calls.pop(key, None)
            if task is not None:
                request = self._tasks[task]
                if isinstance(request, LoopRequest):
                    request.cancel()
                task.cancel()
        self._cancelled.clear()
        for key in self._serving.woken():
            if key not in self._streams:
                continue
            handler, task = self._streams[key]
            if handler.stream.is_over():
                del self._streams[key]
                task.cancel()
            else:
                handler.wake()

    def _schedule(self, wait: float | None) -> None:
        """Schedule the next turn after `wait` seconds; the descriptor may bring it earlier."""
        if self._turn_is_next:
            return
        if self._due is not None:
            self._due.cancel()
        self._turn_is_next = wait == 0
        if wait is None:
            self._due = None
        elif wait == 0:
            self._due = self._loop.call_soon(self._turn)
        else:
            self._due = self._loop.call_later(wait, self._turn)

    def _start(self, request: LoopRequest) -> None:
        """Make a task of a request."""
        context = contextvars.copy_context()
        context.run(task_call.set, request.call)
        task = self._loop.create_task(self._handle(request), context=context)
        self._tasks[task] = request
        self._calls[request.key] = task
        task.add_done_callback(self._done)
        remaining = request.call.remaining
        if remaining is not None:
            timer = self._loop.call_later(remaining, self._expire, request)
            task.add_done_callback(lambda _: timer.cancel())

    def _open(self, stream: LoopStream) -> None:
        """Make a task of a stream."""
        context = contextvars.copy_context()
        context.run(task_call.set, stream.call)
        handler = _StreamHandler(stream)
        task = self._loop.create_task(handler.run(), context=context)
        self._tasks[task] = stream
        self._streams[stream.key] = (handler, task)
        task.add_done_callback(self._done)
        # The first look: from now on the end of the stream notes its key.
        if stream.is_over():
            del self._streams[stream.key]
            task.cancel()

    def _expire(self, request: LoopRequest) -> None:
        """End a call whose deadline has passed."""
        if request.key in self._calls:
            remaining = request.call.remaining
            if remaining:
                # uvloop rounds a delay to milliseconds, so its timer can be early.
                self._loop.call_later(max(remaining, RETRY), self._expire, request)
                return
            self._serving.refuse(request)
            self._cancelled.append(request.key)
            self._cancel()

    async def _handle(self, request: LoopRequest) -> None:
        try:
            self._serving.answer(request, await request.start())
        except asyncio.CancelledError as error:
            if self._calls.get(request.key) is asyncio.current_task():
                # The handler, or another task of the user, cancelled the task.
                self._serving.fail(request, error)
            raise
        except BaseException as error:
            # Drops this frame, the first one, which is not the handler's. A local variable for the traceback would make
            # a cycle.
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                error = error.with_traceback(error.__traceback__.tb_next)
            self._serving.fail(request, error)
            if not isinstance(error, Exception):
                raise

    def _done(self, task: asyncio.Task[None]) -> None:
        request = self._tasks.pop(task)
        if isinstance(request, LoopStream):
            if request.key in self._streams and self._streams[request.key][1] is task:
                del self._streams[request.key]
                if task.cancelled():
                    # The task was cancelled before it began; otherwise it has ended the stream.
                    request.fail(asyncio.CancelledError())
        elif self._calls.get(request.key) is task:
            del self._calls[request.key]
            if task.cancelled():
                # The task was cancelled before it began; otherwise it has answered.
                self._serving.refuse(request)
        if not task.cancelled():
            # The loop has propagated KeyboardInterrupt and SystemExit. It keeps other exceptions to itself, such as a
            # panic of the core that came back through the handler.
            error = task.exception()
            if error is None or isinstance(error, Exception | KeyboardInterrupt | SystemExit):
                pass
            else:
                self._fail(error)
        if not self._over.done():
            # A task more may begin now, and a reply may wait for room.
            self._schedule(0)

    async def _finish(self) -> None:
        """Refuse requests that have not begun, wait for handlers up to the stop timeout, then cancel the rest.

        Callers get their refusals before the first await. A cancellation meanwhile ends only the wait for handlers.
        """
        orderly = self._over.done() and not self._over.cancelled()
        orderly = orderly and isinstance(self._over.exception(), PeerDeadError | None)
        if not self._over.done():
            self._over.cancel()
        stopped = self._loop.time()
        deadline = stopped + self._serving.stop_timeout
        refused = self._refuse()
        # Each refusal takes steps of open streams, too.
        while orderly and (self._tasks or not refused) and self._loop.time() < deadline:
            if await self._pause(self._tasks, 10 * RETRY if self._tasks else RETRY):
                break
            refused = self._refuse()
        self._serving.abandon(self._cancelled)
        self._cancel()
        for task in self._tasks:
            task.cancel()
        # Tasks that do not end after a cancellation are left behind.
        grace = max(deadline, self._loop.time() + GRACE) if orderly else self._loop.time() + self._serving.stop_timeout
        while self._tasks and self._loop.time() < grace:
            await self._pause(self._tasks, grace - self._loop.time())
        while not self._refuse() and self._loop.time() < deadline:
            await self._pause((), RETRY)
        if self._cut_short:
            raise asyncio.CancelledError
        left = len(self._tasks) + self._serving.overran
        if orderly and left:
            message = f"the server stopped, but {left} handlers went on for longer than its stop_timeout"
            raise HandlersLeftError(message, left)

    def _refuse(self) -> bool:
        refused = self._serving.refuse_all(self._cancelled)
        self._cancel()
        return refused

    async def _pause(self, tasks: Collection[asyncio.Task[None]], seconds: float) -> bool:
        """Wait for tasks; return whether this was cancelled meanwhile."""
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=seconds)
            else:
                await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self._cut_short = True
            return True
        return False


async def aserve(
    dispatcher: RpcDispatcher, target: RpcBus | RpcServer, concurrency: int, stop_on: Iterable[int] | None
) -> None:
    """Serve for `RpcDispatcher.aserve`."""
    restore = None if stop_on is None else install(stop_on, target)
    try:
        await Service(LoopServing(dispatcher, target), concurrency).run()
    finally:
        if restore is not None:
            restore()
