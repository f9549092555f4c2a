"""Callers that outlive their callee: what is sent again, and what is not."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon
from tachyon import RpcBus, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

SERVER = """
import os
dispatcher = tachyon.RpcDispatcher()

@dispatcher.handler(msg_type=1)
def who(payload):
    return str(os.getpid()).encode()

@dispatcher.handler(msg_type=2)
def die(payload):
    if not os.path.exists(path + ".died"):
        open(path + ".died", "w").close()
        os._exit(1)
    return b"survived"

with tachyon.RpcServer(path) as server:
    print("ready", flush=True)
    dispatcher.serve_forever(server)
"""

who = tachyon_rpc(1)(bytes)
die = tachyon_rpc(2)(bytes)
die_idempotent = tachyon_rpc(2, idempotent=True)(bytes)


@pytest.fixture
def serve(peer: Callable[[str], Peer]) -> Callable[[], Peer]:
    """Return a function that runs `SERVER`."""

    def start() -> Peer:
        server = peer(SERVER)
        assert server.line() == "ready"
        return server

    return start


def pid(server: Peer) -> bytes:
    return str(server.process.pid).encode()


def forget_death(path: str) -> None:
    Path(f"{path}.died").unlink()


def stop(server: Peer, orderly: bool) -> None:
    if orderly:
        server.process.send_signal(signal.SIGINT)
        server.process.wait(10)
    else:
        server.kill()


def descriptors() -> int:
    """Count this process's descriptors, but for the pipes to its children."""
    gc.collect()
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(not str(link.readlink()).startswith("pipe:") for link in links)


@pytest.mark.parametrize("orderly", [True, False])
def test_the_next_call_connects(serve: Callable[[], Peer], path: str, orderly: bool) -> None:
    server = serve()
    with RpcBus.connect(path, reconnect=True) as bus:
        before = descriptors()
        for _ in range(3):
            assert who.call(bus, b"", timeout=10) == pid(server)
            outstanding = [bus.call(b"", 1) for _ in range(2)]
            # Their replies come before the end, and are kept.
            assert who.call(bus, b"", timeout=10) == pid(server)
            stop(server, orderly)
            server = serve()
            assert who.call(bus, b"", timeout=10) == pid(server)
            for call in outstanding:
                with bus.wait(call, timeout=5) as reply:
                    assert bytes(reply) != pid(server)
            assert descriptors() == before
        with pytest.raises(tachyon.WrongDirectionError):
            bus.serve()


def test_without_it_the_end_is_the_end(serve: Callable[[], Peer], path: str) -> None:
    server = serve()
    with RpcBus.connect(path) as bus:
        assert who.call(bus, b"", timeout=10) == pid(server)
        server.kill()
        serve()
        for _ in range(2):
            with pytest.raises(tachyon.PeerDeadError):
                who.call(bus, b"", timeout=10)


def test_only_idempotent_requests_are_sent_again(
    serve: Callable[[], Peer], peer: Callable[[str], Peer], path: str
) -> None:
    assert die_idempotent.idempotent
    assert not die.idempotent
    serve()
    peer(f"while True:\n    try:\n{indented(SERVER)}\n    except tachyon.AddressInUseError:\n        time.sleep(0.01)")
    with RpcBus.connect(path, reconnect=True) as bus:
        assert die_idempotent.call(bus, b"", timeout=10) == b"survived"


def indented(script: str) -> str:
    return "\n".join(f"        {line}" for line in script.splitlines())


def test_others_are_lost_with_their_callee(serve: Callable[[], Peer], path: str) -> None:
    serve()
    with RpcBus.connect(path, timeout=2, reconnect=True) as bus:
        with pytest.raises(tachyon.PeerDeadError):
            die.call(bus, b"", timeout=10)
        with pytest.raises(tachyon.NoListenerError):
            who.call(bus, b"")
        # The timeout of the call is the shorter one.
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            who.call(bus, b"", timeout=0.02)
        assert time.monotonic() - started < 1.5
        server = serve()
        assert who.call(bus, b"") == pid(server)


def test_close_while_it_connects(serve: Callable[[], Peer], path: str) -> None:
    server = serve()
    bus = RpcBus.connect(path, timeout=0.5, reconnect=True)
    assert who.call(bus, b"", timeout=10) == pid(server)
    server.kill()
    # Its death shows with the next tick of the clock.
    time.sleep(0.02)
    outcome: list[BaseException] = []

    def call() -> None:
        try:
            who.call(bus, b"")
        except tachyon.TachyonError as error:
            outcome.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.1)
    bus.close()
    serve()
    thread.join(10)
    assert [type(error) for error in outcome] == [tachyon.BusClosedError]


def test_from_coroutines(serve: Callable[[], Peer], path: str) -> None:
    async def main() -> None:
        server = serve()
        with RpcBus.connect(path, timeout=0.2, reconnect=True) as bus:
            for orderly in (True, False):
                assert await who.acall(bus, b"", timeout=10) == pid(server)
                stop(server, orderly)
                await asyncio.sleep(0.02)
                server = serve()
                # One connection for all who want it.
                replies = await asyncio.gather(*(who.acall(bus, b"", timeout=10) for _ in range(20)))
                assert set(replies) == {pid(server)}
            with pytest.raises(tachyon.PeerDeadError):
                await die.acall(bus, b"", timeout=10)
            with pytest.raises(tachyon.NoListenerError):
                await who.acall(bus, b"")
            with pytest.raises(tachyon.TimedOutError):
                await who.acall(bus, b"", timeout=0.02)
        server = serve()
        forget_death(path)
        # Long enough for the next server to come.
        with RpcBus.connect(path, timeout=10, reconnect=True) as bus:
            assert await who.acall(bus, b"") == pid(server)
            starting = asyncio.create_task(asyncio.to_thread(lambda: (server.process.wait(), serve())[1]))
            assert await die_idempotent.acall(bus, b"", timeout=10) == b"survived"
            await starting

    asyncio.run(main())
