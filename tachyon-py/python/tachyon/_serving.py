"""Serving from a coroutine: one `Service` for each `serve_async`.

The loop watches one descriptor, which is readable when callers want something. Plain handlers run in the turn that
finds their request; coroutine functions become tasks, and their callers are answered when those are done.
"""

from __future__ import annotations

import asyncio
import contextvars
import os

from tachyon._context import task_call
from tachyon._tachyon import LoopRequest, LoopServing, RpcBus, RpcDispatcher, RpcServer
from tachyon.errors import BusyError, PeerDeadError

RETRY = 0.001
"""Seconds between two attempts at what a thread or a caller keeps us from."""


class Service:
    """A server, or a bus, in the hands of one event loop."""

    def __init__(self, serving: LoopServing, concurrency: int) -> None:
        """Prepare to serve with at most `concurrency` tasks."""
        self._serving = serving
        self._concurrency = concurrency
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._taken: list[LoopRequest] = []
        self._tasks: dict[asyncio.Task[None], LoopRequest] = {}
        self._due: asyncio.Handle | None = None
        # Whether that is the loop's next round.
        self._soon = False

    async def run(self) -> None:
        """Serve until the other side, or a stop, ends it."""
        watched = self._serving.fileno()
        try:
            if watched >= 0:
                self._loop.add_reader(watched, self._turn)
                self._turn()
                await self._over
        finally:
            # A forked child has its parent's epoll, and what it took out would be missing there.
            if watched >= 0 and os.getpid() == self._process:
                self._loop.remove_reader(watched)
            if self._due is not None:
                self._due.cancel()
            try:
                await self._finish()
            finally:
                self._serving.close()

    def _turn(self) -> None:
        """Attend to callers, as a callback of the loop."""
        self._soon = False
        if self._over.done():
            return
        try:
            wait = self._serving.turn(self._taken, self._concurrency - len(self._tasks))
        except BusyError:
            # A thread registers a handler at this moment.
            wait = RETRY
        except PeerDeadError as error:
            # What it had committed, perhaps just now taken, is handled all the same.
            self._over.set_exception(error)
            wait = None
        except BaseException as error:
            self._over.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for request in self._taken:
            self._start(request)
        self._taken.clear()
        if self._over.done():
            return
        if wait is not None and wait < 0:
            self._over.set_result(None)
        else:
            self._schedule(wait)

    def _schedule(self, wait: float | None) -> None:
        """Have the next turn taken after so many seconds, if nothing becomes readable before."""
        if self._soon:
            return
        if self._due is not None:
            self._due.cancel()
        self._soon = wait == 0
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
        task.add_done_callback(self._done)

    async def _handle(self, request: LoopRequest) -> None:
        try:
            self._serving.answer(request, await request.start())
        except asyncio.CancelledError as error:
            if not self._over.done():
                # The handler cancelled itself, or let somebody else do it.
                self._serving.fail(request, error)
            raise
        except BaseException as error:
            self._serving.fail(request, error)
            if not isinstance(error, Exception):
                raise

    def _done(self, task: asyncio.Task[None]) -> None:
        request = self._tasks.pop(task)
        if not task.cancelled():
            # KeyboardInterrupt and SystemExit have gone their way through the loop, which keeps the others to itself: a
            # panic of the core, among them, that came back through the handler.
            error = task.exception()
            if error is None or isinstance(error, Exception | KeyboardInterrupt | SystemExit):
                pass
            elif not self._over.done():
                self._over.set_exception(error)
        elif not self._over.done():
            # It was cancelled before it began; otherwise it is answered already.
            self._serving.turn_down(request)
        if not self._over.done():
            # There is a place more for a task now, and there may be a reply for which there was no room.
            self._schedule(0)

    async def _finish(self) -> None:
        """Let handlers that run come to their end, and callers take their last replies, but not for ever."""
        orderly = self._over.done() and not self._over.cancelled()
        orderly = orderly and isinstance(self._over.exception(), PeerDeadError | None)
        if not self._over.done():
            self._over.cancel()
        deadline = self._loop.time() + self._serving.stop_timeout
        try:
            while orderly and self._tasks and self._loop.time() < deadline:
                self._serving.turn_away()
                await asyncio.wait(self._tasks, timeout=10 * RETRY)
        finally:
            tasks = dict(self._tasks)
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            for request in tasks.values():
                self._serving.turn_down(request)
        # There is no word for when a caller has taken a reply.
        while not self._serving.turn_away() and self._loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(RETRY)


async def serve_async(dispatcher: RpcDispatcher, target: RpcBus | RpcServer, concurrency: int) -> None:
    """Do what `RpcDispatcher.serve_async` says."""
    await Service(LoopServing(dispatcher, target), concurrency).run()
