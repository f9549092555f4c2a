"""Clients get into a server while its handlers run, and an inline acceptor has no thread."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

import tachyon
from proc import thread_names
from serving_thread import serving


def busy_dispatcher(began: threading.Event) -> tachyon.RpcDispatcher:
    """Make a dispatcher whose endpoint 1 blocks its thread for 3 seconds."""
    dispatcher = tachyon.RpcDispatcher()

    @dispatcher.handler(1)
    def busy(payload: memoryview) -> bytes:
        began.set()
        time.sleep(3)
        return payload.tobytes()

    return dispatcher


@tachyon.tachyon_rpc(1)
def ask(payload: memoryview) -> bytes: ...


def connect_meanwhile(path: str, began: threading.Event) -> float:
    """Call endpoint 1, and connect while it runs; return the seconds of the connect."""
    answers: list[bytes] = []

    def call() -> None:
        with tachyon.RpcBus.connect(path) as bus:
            answers.append(ask.call(bus, b"busy", timeout=10))

    calling = threading.Thread(target=call)
    calling.start()
    assert began.wait(10)
    started = time.monotonic()
    tachyon.RpcBus.connect(path).close()
    took = time.monotonic() - started
    calling.join()
    assert answers == [b"busy"]
    return took


@pytest.mark.parametrize("workers", [1, 2])
def test_clients_connect_while_a_handler_is_at_work(path: str, workers: int) -> None:
    began = threading.Event()
    dispatcher = busy_dispatcher(began)
    with serving(dispatcher, path, workers=workers):
        assert connect_meanwhile(path, began) < 1.5
        assert "tachyon-accept" in thread_names()
    assert "tachyon-accept" not in thread_names()


def test_clients_connect_while_a_handler_blocks_the_loop(path: str) -> None:
    began = threading.Event()
    dispatcher = busy_dispatcher(began)
    with tachyon.RpcServer(path) as server:

        async def serve() -> float:
            task = asyncio.create_task(dispatcher.aserve(server))
            took = await asyncio.to_thread(connect_meanwhile, path, began)
            server.stop()
            await task
            return took

        assert asyncio.run(serve()) < 1.5
    assert "tachyon-accept" not in thread_names()


def test_an_inline_acceptor_has_no_thread(path: str) -> None:
    dispatcher = tachyon.RpcDispatcher()
    dispatcher.handler(1)(bytes)
    with tachyon.RpcServer(path, acceptor="inline") as server:

        async def serve() -> None:
            task = asyncio.create_task(dispatcher.aserve(server))
            with await asyncio.to_thread(tachyon.RpcBus.connect, path) as bus:
                assert await ask.acall(bus, b"here", timeout=10) == b"here"
                assert "tachyon-accept" not in thread_names()
            server.stop()
            await task

        asyncio.run(serve())


def test_an_acceptor_has_two_forms(path: str) -> None:
    with pytest.raises(ValueError, match='acceptor is "thread" or "inline", not "none"'):
        tachyon.RpcServer(path, acceptor="none")  # type: ignore[arg-type]


def test_callers_of_one_process_are_limited(path: str) -> None:
    dispatcher = tachyon.RpcDispatcher()
    dispatcher.handler(1)(bytes)
    limits = {"callers_per_process": 1, "ring_bytes": 1 << 24}
    with (
        serving(dispatcher, path, **limits),
        tachyon.RpcBus.connect(path) as bus,
        pytest.raises(tachyon.TachyonError, match="no place"),
    ):
        assert ask.call(bus, b"here", timeout=10) == b"here"
        tachyon.RpcBus.connect(path)
