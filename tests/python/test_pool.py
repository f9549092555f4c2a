"""Callers shared by threads."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

import tachyon
from tachyon import Pool, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

echo = tachyon_rpc(1, idempotent=True)(bytes)
once = tachyon_rpc(1)(bytes)
callers = tachyon_rpc(5)(bytes)
stop = tachyon_rpc(4)(bytes)


@pytest.fixture
def serve(service: Callable[..., Peer]) -> Callable[[], Peer]:
    """Return a function that starts the server of `basics`."""
    return lambda: service("basics", "server", stop_timeout=0.1)


def test_eight_threads_share_three_callers(serve: Callable[[], Peer], path: str) -> None:
    server = serve()
    failures: list[BaseException] = []
    with Pool(path, max_size=3, timeout=20) as pool:
        assert len(pool) == 0

        def call(thread: int) -> None:
            try:
                for number in range(300):
                    payload = b"%d " % thread * (number % 50)
                    assert pool.call(echo, payload, timeout=20) == payload
                    assert pool.call(echo, payload, len, timeout=20) == len(payload)
                    if number % 50 == 0:
                        with pool.caller() as bus:
                            assert echo.call(bus, payload) + echo.call(bus, b"") == payload
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=call, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(pool) == 3
        assert repr(pool) == f"<tachyon.Pool path='{path}' max_size=3 callers=3>"
        assert pool.call(callers, b"") == b"3"
        pool.call(stop, b"")
    server.join()


def test_a_pool_whose_callers_are_all_in_use(serve: Callable[[], Peer], path: str) -> None:
    serve()
    with Pool(path, max_size=1, timeout=0.05) as pool, pool.caller() as bus:
        assert echo.call(bus, b"mine") == b"mine"
        for limit in (None, 0.0, 0.02):
            with pytest.raises(tachyon.TimedOutError, match="in use"), pool.caller(timeout=limit):
                pytest.fail("the pool has one caller")
        with pytest.raises(TimeoutError):
            pool.call(echo, b"", timeout=0.02)


def test_a_waiting_thread_gets_a_returned_caller(serve: Callable[[], Peer], path: str) -> None:
    serve()
    given: list[float] = []
    with Pool(path, max_size=1) as pool:

        def wait() -> None:
            with pool.caller(timeout=10) as other:
                given.append(time.monotonic())
                assert echo.call(other, b"at last") == b"at last"

        thread = threading.Thread(target=wait)
        with pool.caller() as bus:
            assert echo.call(bus, b"mine") == b"mine"
            thread.start()
            time.sleep(0.1)
            assert not given
            returned = time.monotonic()
        thread.join(10)
        assert given[0] - returned < 5


def test_a_caller_comes_back_fit_for_the_next(serve: Callable[[], Peer], path: str) -> None:
    serve()
    with Pool(path, 1) as pool:
        with pool.caller() as first:
            forgotten = first.call(b"never waited for", 1)
            first.set_polling_mode(1)
        with pool.caller() as again:
            assert again is first
            with pytest.raises(tachyon.errors.InvalidArgumentError, match="outstanding"):
                again.wait(forgotten)
            assert echo.call(again, b"clean") == b"clean"
            guard = again.wait(again.call(b"kept open", 1))
        # The pool closes a caller with an open guard; the guard stays readable.
        assert bytes(guard) == b"kept open"
        with pool.caller() as other:
            assert other is not first
            assert first.closed
            other.close()
        with pool.caller() as third:
            assert echo.call(third, b"third") == b"third"
        with pytest.raises(ZeroDivisionError), pool.caller():
            raise ZeroDivisionError
        assert len(pool) == 1


def test_a_server_that_restarts(serve: Callable[[], Peer], path: str) -> None:
    server = serve()
    with Pool(path, 4) as pool:
        with pool.caller() as one, pool.caller() as two:
            assert echo.call(one, b"1") + echo.call(two, b"2") == b"12"
        server.kill()
        serve()
        # The pool finds dead idle callers before it gives them out.
        for _ in range(5):
            assert pool.call(once, b"again", timeout=10) == b"again"
        assert len(pool) == 1


def test_an_idempotent_request_is_sent_again(service: Callable[..., Peer], path: str) -> None:
    server = service("third_callee")
    with Pool(path, 1) as pool:
        assert pool.call(echo, b"", timeout=10) == b"third time"
    with Pool(path, 1) as pool, pytest.raises(tachyon.PeerClosedError):
        pool.call(once, b"", timeout=10)
    server.join()


def test_close(serve: Callable[[], Peer], path: str) -> None:
    serve()
    pool = Pool(path, 2)
    with pool.caller() as bus:

        def wait() -> None:
            with pytest.raises(tachyon.BusClosedError), pool.caller(timeout=30):
                pytest.fail("the pool is closed")

        waiting = threading.Thread(target=wait)
        with pool.caller():
            waiting.start()
            time.sleep(0.05)
            pool.close()
            waiting.join(5)
            assert not waiting.is_alive()
        assert echo.call(bus, b"until it comes back") == b"until it comes back"
    assert bus.closed
    assert pool.closed
    assert len(pool) == 0
    with pytest.raises(tachyon.BusClosedError), pool.caller():
        pytest.fail("the pool is closed")
    pool.close()


def test_wrong_arguments_and_no_listener(path: str) -> None:
    with pytest.raises(tachyon.errors.InvalidArgumentError):
        Pool(path, 0)
    with Pool(path, timeout=0.05) as pool:
        for _ in range(2):
            with pytest.raises(tachyon.NoListenerError), pool.caller():
                pytest.fail("no server listens")
        assert len(pool) == 0


def test_ctrl_c_ends_a_wait(peer: Callable[[str], Peer], serve: Callable[[], Peer], path: str) -> None:
    serve()
    child = peer("""
        import signal
        pool = tachyon.Pool(path, 1)
        with pool.caller():
            print("ready", flush=True)
            try:
                with pool.caller(timeout=30):
                    pass
            except KeyboardInterrupt:
                print(time.monotonic())
    """)
    assert child.line() == "ready"
    time.sleep(0.1)
    sent = time.monotonic()
    child.process.send_signal(2)
    assert float(child.join()) - sent < 5
