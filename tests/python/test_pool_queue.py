"""First come, first served: threads, coroutines and forked children that wait for the callers of a pool."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import queue
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import uvloop

import tachyon
from forks import in_child
from proc import descriptors, wait_until_asleep
from tachyon import Pool, TimedOutError, i64, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from conftest import Peer

LONG = 20.0
"""Seconds that no operation of these tests takes."""

echo = tachyon_rpc(1, idempotent=True)(bytes)
introduce = tachyon_rpc(2)(bytes)
callers = tachyon_rpc(5)(bytes)
sleep = tachyon_rpc(3)(bytes)


@tachyon_rpc(13)
def add(a: i64, b: i64) -> i64:
    return a - b  # only the peer adds


@pytest.fixture
def serve(service: Callable[..., Peer]) -> Callable[[], Peer]:
    """Return a function that starts the server of `basics` with three workers."""
    return lambda: service("basics", "server", workers=3, stop_timeout=0.1)


@pytest.fixture
def server(serve: Callable[[], Peer]) -> Peer:
    return serve()


@pytest.mark.usefixtures("server")
def test_threads_and_loops_are_served_in_order(path: str) -> None:
    started: queue.SimpleQueue[int] = queue.SimpleQueue()
    with Pool(path, 1) as pool:

        def call() -> bytes:
            started.put(threading.get_native_id())
            return pool.call(introduce, b"", timeout=LONG)

        async def acall() -> bytes:
            started.put(threading.get_native_id())
            return await pool.acall(introduce, b"", timeout=LONG)

        with ThreadPoolExecutor(6) as threads:
            calls = []
            with pool.caller():
                for _ in range(3):
                    for kind in (call, lambda: asyncio.run(acall())):
                        calls.append(threads.submit(kind))
                        wait_until_asleep(started.get(timeout=LONG))
            # The thread that gave the caller back does not overtake those that wait.
            last = call()
            served = [json.loads(reply)["now"] for reply in [*(each.result() for each in calls), last]]
        assert served == sorted(served)
        assert pool.call(callers, b"") == b"1", "no connection is lost between threads and loops"


@pytest.mark.usefixtures("server")
def test_a_place_goes_past_a_thread_that_gives_up(path: str) -> None:
    patience = 0.05
    with Pool(path, 1) as pool:

        def borrow(timeout: float) -> float:
            began = time.monotonic()
            try:
                with pool.caller(timeout=timeout):
                    pass
            except TimedOutError:
                assert timeout == patience
            return time.monotonic() - began

        with ThreadPoolExecutor(2) as threads:
            for round_ in range(20):
                with pool.caller():
                    hasty = threads.submit(borrow, patience)
                    time.sleep(patience / 5)
                    patient = threads.submit(borrow, LONG)
                    # The caller comes back shortly before or after the hasty thread gives up.
                    time.sleep(patience * 4 / 5 - 0.005 + 0.001 * (round_ % 10))
                assert patient.result() < LONG / 2
                hasty.result()
        assert len(pool) == 1


@pytest.mark.usefixtures("server")
def test_a_forked_child_has_a_pool_of_its_own(path: str) -> None:
    def calls(payload: bytes) -> bool:
        return pool.call(echo, payload, timeout=LONG) == payload

    def child_and_grandchild() -> bool:
        empty = len(pool) == 0
        in_child(lambda: len(pool) == 0 and calls(b"grandchild"))
        return empty and calls(b"child") and calls(b"again") and len(pool) == 1

    with Pool(path, 2) as pool:
        assert calls(b"parent")
        in_child(child_and_grandchild)
        assert calls(b"parent")
        with pool.caller() as one, pool.caller() as two:
            # Both places are taken in the parent.
            in_child(lambda: calls(b"child"))

            def refused() -> bool:
                try:
                    one.call(b"", 1)
                except tachyon.BusClosedError as error:
                    return "fork" in str(error)
                return False

            in_child(refused)
            assert echo.call(one, b"1") + echo.call(two, b"2") == b"12"
        in_child(lambda: asyncio.run(pool.acall(echo, b"child", timeout=LONG)) == b"child")
        assert len(pool) == 2
        assert calls(b"parent goes on")
        assert pool.call(callers, b"") == b"2"
    in_child(lambda: pool.closed)


@pytest.mark.usefixtures("server")
def test_a_caller_that_comes_back_in_a_forked_child(path: str) -> None:
    with Pool(path, 1) as pool:
        with pool.caller() as bus:
            child = os.fork()
            if child != 0:
                assert echo.call(bus, b"parent") == b"parent"
        if child == 0:
            # The `with` block ended in the child, too.
            os._exit(0 if len(pool) == 0 and pool.call(echo, b"x", timeout=LONG) == b"x" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with pool.caller() as again:
            assert again is bus
            assert echo.call(again, b"parent") == b"parent"


@pytest.mark.usefixtures("server")
def test_children_are_forked_while_threads_use_the_pool(path: str) -> None:
    over = threading.Event()
    with Pool(path, 2) as pool:

        def call() -> None:
            while not over.is_set():
                assert pool.call(echo, b"parent", timeout=LONG) == b"parent"

        with ThreadPoolExecutor(3) as threads:
            calling = [threads.submit(call) for _ in range(3)]
            try:
                for _ in range(20):
                    in_child(lambda: pool.call(echo, b"child", timeout=LONG) == b"child")
            finally:
                over.set()
        for each in calling:
            each.result()


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_calls_from_coroutines(loop: Callable[[], asyncio.AbstractEventLoop], path: str) -> None:
    def run(main: Coroutine[object, object, None]) -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(main)

    async def call_all() -> None:
        payloads = [b"%d" % number for number in range(200)]
        assert await asyncio.gather(*(pool.acall(echo, payload, timeout=LONG) for payload in payloads)) == payloads
        assert await asyncio.gather(*(pool.acall(add, number, b=number) for number in range(50))) == list(
            range(0, 100, 2)
        )
        assert await pool.within(LONG).acall(add, 1, 2) == 3
        with pytest.raises(tachyon.NoHandlerError):
            await pool.acall(tachyon_rpc(99)(bytes), b"")
        assert await pool.acall(callers, b"") == b"3"

    with Pool(path, 3) as pool:
        run(call_all())
        assert len(pool) == 3
        # The same callers serve threads, and the next loop.
        assert pool.call(echo, b"thread") == b"thread"
        assert pool.call(add, 1, 2) == 3
        run(call_all())
        assert pool.call(callers, b"") == b"3"


@pytest.mark.usefixtures("server")
def test_a_coroutine_sends_the_bytes_at_the_time_of_its_call(path: str) -> None:
    async def change() -> None:
        changing = bytearray(b"before")
        calls = [pool.acall(echo, changing) for _ in range(3)]
        calls.append(pool.within(LONG).acall(echo, changing))
        changing[:] = b"after"
        assert await asyncio.gather(*calls) == [b"before"] * 4
        # A wrong call is refused at once, before it needs a caller.
        with pool.caller(), pytest.raises(TypeError):
            pool.acall(add, 1)

    with Pool(path, 1) as pool:
        asyncio.run(change())


@pytest.mark.usefixtures("server")
def test_a_contract_is_compared_once_for_each_connection(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    comparisons: list[object] = []
    compare = tachyon._calls.LoopConnection._agree

    def counted(line: object, *args: object) -> object:
        comparisons.append(line)
        return compare(line, *args)

    monkeypatch.setattr("tachyon._calls.LoopConnection._agree", counted)

    async def call() -> None:
        for number in range(5):
            assert await pool.acall(add, number, number) == 2 * number

    with Pool(path, 1) as pool:
        asyncio.run(call())
        assert pool.call(add, 1, 1) == 2
        asyncio.run(call())
    assert len(comparisons) == 1


@pytest.mark.usefixtures("server")
def test_coroutines_are_served_in_order(path: str) -> None:
    served: list[int] = []

    async def call(number: int) -> None:
        await pool.acall(echo, b"", timeout=LONG)
        served.append(number)

    async def call_all() -> None:
        with pool.caller():
            tasks = [asyncio.create_task(call(number)) for number in range(10)]
            await asyncio.sleep(0.05)
            # The cancelled calls leave the queue; the others keep their order.
            for number in (0, 3, 4, 9):
                tasks[number].cancel()
            await asyncio.sleep(0)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [number for number in range(10) if outcomes[number] is None] == served

    with Pool(path, 1) as pool:
        asyncio.run(call_all())
        assert served == [1, 2, 5, 6, 7, 8]
        assert len(pool) == 1


@pytest.mark.usefixtures("server")
def test_a_coroutine_that_is_cancelled_with_a_place_passes_the_place_on(path: str) -> None:
    async def hand_over() -> None:
        with pool.caller():
            first, second = (asyncio.create_task(pool.acall(echo, b"it", timeout=LONG)) for _ in range(2))
            await asyncio.sleep(0.05)
        # The pool has given the place to the first call, which has not run since.
        first.cancel()
        assert await second == b"it"
        assert first.cancelled()

    with Pool(path, 1) as pool:
        for _ in range(10):
            asyncio.run(hand_over())
        assert len(pool) == 1


@pytest.mark.usefixtures("server")
def test_a_call_that_is_cancelled_gives_its_caller_back(path: str) -> None:
    async def cancel() -> None:
        for seconds in (0.0, 0.01, 0.05):
            task = asyncio.create_task(pool.acall(sleep, b"0.2"))
            await asyncio.sleep(seconds)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        with pytest.raises(TimedOutError):
            await pool.acall(sleep, b"0.2", timeout=0.05)
        assert await pool.acall(echo, b"next", timeout=LONG) == b"next"

    with Pool(path, 1) as pool:
        asyncio.run(cancel())
        assert pool.call(echo, b"thread") == b"thread"
        assert len(pool) == 1
        assert pool.call(callers, b"") == b"1"


@pytest.mark.usefixtures("server")
def test_a_loop_that_is_closed_over_its_tasks_keeps_no_place(path: str) -> None:
    with Pool(path, 1) as pool:
        loop = asyncio.new_event_loop()
        with pool.caller():
            task = loop.create_task(pool.acall(echo, b"never", timeout=LONG))
            loop.run_until_complete(asyncio.sleep(0.05))
            loop.close()
        assert pool.call(echo, b"next", timeout=LONG) == b"next"
        assert not task.done()
        task._log_destroy_pending = False


@pytest.mark.usefixtures("server")
def test_coroutines_without_a_place(path: str) -> None:
    async def wait() -> None:
        with pool.caller():
            for calling in (
                pool.acall(echo, b""),
                pool.acall(echo, b"", timeout=0.02),
                pool.acall(echo, b"", timeout=0.0),
                pool.within(0.02).acall(echo, b""),
            ):
                with pytest.raises(TimedOutError, match="all 1 callers of the pool stayed in use"):
                    await calling
            waiting = asyncio.create_task(pool.acall(echo, b"", timeout=LONG))
            await asyncio.sleep(0.02)
            pool.close()
            with pytest.raises(tachyon.BusClosedError, match="this pool is closed"):
                await waiting
        with pytest.raises(tachyon.BusClosedError, match="this pool is closed"):
            await pool.acall(echo, b"")
        assert len(pool) == 0

    pool = Pool(path, 1, timeout=0.05)
    asyncio.run(wait())


def test_coroutines_without_a_listener(serve: Callable[[], Peer], path: str) -> None:
    async def connect(seconds: float) -> None:
        with pytest.raises(tachyon.NoListenerError):
            await pool.acall(echo, b"", timeout=seconds)

    async def give_up() -> bytes:
        tasks = [asyncio.create_task(pool.acall(echo, b"", timeout=LONG)) for _ in range(20)]
        await asyncio.sleep(0.05)
        assert threading.active_count() == outside, "connecting starts no thread"
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        assert len(pool) == 0
        serve()
        return await pool.acall(echo, b"at last", timeout=LONG)

    outside = threading.active_count()
    with Pool(path, 2) as pool:
        for seconds in (0.0, 0.05):
            asyncio.run(connect(seconds))
            assert len(pool) == 0
        assert asyncio.run(give_up()) == b"at last"


def test_coroutines_call_the_next_server_after_a_death(serve: Callable[[], Peer], path: str) -> None:
    async def call() -> None:
        server = serve()
        assert await asyncio.gather(*(pool.acall(echo, b"1", timeout=LONG) for _ in range(4))) == [b"1"] * 4
        server.kill()
        serve()
        for _ in range(4):
            assert await pool.acall(callers, b"", timeout=LONG) == b"1"

    with Pool(path, 2) as pool:
        asyncio.run(call())


def test_an_idempotent_call_of_a_coroutine_is_sent_again(service: Callable[..., Peer], path: str) -> None:
    server = service("third_callee")
    with Pool(path, 1) as pool:
        assert asyncio.run(pool.acall(echo, b"", timeout=LONG)) == b"third time"
    with Pool(path, 1) as pool, pytest.raises(tachyon.PeerClosedError):
        asyncio.run(pool.acall(tachyon_rpc(1)(bytes), b"", timeout=LONG))
    server.join()


@pytest.mark.parametrize("pooled", [False, True])
def test_a_loop_that_is_closed_over_its_calls_keeps_nothing(serve: Callable[[], Peer], path: str, pooled: bool) -> None:
    serve()
    with Pool(path, 1, timeout=5) as pool:
        for attempt in range(4):
            loop = asyncio.new_event_loop()
            loop.set_exception_handler(lambda *_: None)
            bus = tachyon.RpcBus.connect(path)
            calling = pool.acall(sleep, b"1") if pooled else sleep.acall(bus, b"1")
            task = loop.create_task(calling)
            loop.run_until_complete(asyncio.sleep(0.05))
            loop.close()
            kept = weakref.ref(bus)
            del loop, bus, calling, task
            gc.collect()
            assert kept() is None
            if attempt == 0:
                before = descriptors()
        assert descriptors() <= before
        assert pool.call(echo, b"goes on") == b"goes on"
