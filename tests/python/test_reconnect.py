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

@dispatcher.handler(msg_type=3)
def nap_and_stop(payload):
    time.sleep(0.3)
    server.stop()

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
        with pytest.raises(tachyon.errors.WrongDirectionError):
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
    peer(
        f"while True:\n    try:\n{indented(SERVER)}\n"
        "    except tachyon.errors.AddressInUseError:\n        time.sleep(0.01)"
    )
    with RpcBus.connect(path, reconnect=True) as bus:
        assert die_idempotent.call(bus, b"", timeout=10) == b"survived"


def indented(script: str) -> str:
    return "\n".join(f"        {line}" for line in script.splitlines())


def test_others_are_lost_with_their_callee(serve: Callable[[], Peer], path: str) -> None:
    serve()
    with RpcBus.connect(path, timeout=2, reconnect=True) as bus:
        with pytest.raises(tachyon.PeerDeadError) as lost:
            die.call(bus, b"", timeout=10)
        assert not lost.value.safe_to_retry
        with pytest.raises(tachyon.NoListenerError, match=path) as missing:
            who.call(bus, b"")
        assert missing.value.safe_to_retry
        # The timeout of the call is the shorter one, and the cause is the same.
        started = time.monotonic()
        with pytest.raises(tachyon.NoListenerError, match=path):
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
        threads = threading.active_count()
        with RpcBus.connect(path, timeout=0.2, reconnect=True) as bus:
            for orderly in (True, False):
                assert await who.acall(bus, b"", timeout=10) == pid(server)
                stop(server, orderly)
                await asyncio.sleep(0.02)
                server = serve()
                # One connection for all who want it.
                replies = await asyncio.gather(*(who.acall(bus, b"", timeout=10) for _ in range(20)))
                assert set(replies) == {pid(server)}
            with pytest.raises(tachyon.PeerDeadError) as lost:
                await die.acall(bus, b"", timeout=10)
            assert not lost.value.safe_to_retry
            for timeout in (None, 0.02):
                with pytest.raises(tachyon.NoListenerError, match=path) as missing:
                    await who.acall(bus, b"", timeout=timeout)
                assert missing.value.safe_to_retry
            assert threading.active_count() == threads
        server = serve()
        forget_death(path)
        # Long enough for the next server to come.
        with RpcBus.connect(path, timeout=10, reconnect=True) as bus:
            assert await who.acall(bus, b"") == pid(server)
            starting = asyncio.create_task(asyncio.to_thread(lambda: (server.process.wait(), serve())[1]))
            assert await die_idempotent.acall(bus, b"", timeout=10) == b"survived"
            await starting

    asyncio.run(main())


def test_what_a_stopping_server_has_not_begun_goes_to_the_next_one(serve: Callable[[], Peer], path: str) -> None:
    def restart(server: Peer, other: RpcBus) -> Peer:
        other.call(b"", 3)
        # The call of the test lies behind it.
        time.sleep(0.1)
        server.process.wait(10)
        return serve()

    async def from_a_loop(bus: RpcBus, server: Peer, other: RpcBus) -> tuple[bytes, Peer]:
        await who.acall(bus, b"")
        other.call(b"", 3)
        await asyncio.sleep(0.05)
        called = asyncio.create_task(who.acall(bus, b"", timeout=10))
        await asyncio.to_thread(server.process.wait, 10)
        following = await asyncio.to_thread(serve)
        return await called, following

    server = serve()
    with RpcBus.connect(path, timeout=10, reconnect=True) as bus, RpcBus.connect(path) as other:
        assert who.call(bus, b"") == pid(server)
        following: list[Peer] = []
        restarting = threading.Thread(target=lambda: following.append(restart(server, other)))
        restarting.start()
        time.sleep(0.05)
        answered = who.call(bus, b"", timeout=10)
        restarting.join()
        assert answered == pid(following[0])
    server = following[0]
    with RpcBus.connect(path, timeout=10, reconnect=True) as bus, RpcBus.connect(path) as other:
        answered, last = asyncio.run(from_a_loop(bus, server, other))
        assert answered == pid(last)


def test_a_reconnect_that_is_cut_off_leaves_a_bus_that_works(serve: Callable[[], Peer], path: str) -> None:
    async def cut_off(bus: RpcBus, server: Peer) -> None:
        assert await who.acall(bus, b"") == pid(server)
        server.kill()
        await asyncio.sleep(0.02)
        calling = asyncio.create_task(who.acall(bus, b""))
        # The loop ends while the bus connects.
        await asyncio.sleep(0.1)
        assert not calling.done()

    server = serve()
    with RpcBus.connect(path, timeout=30, reconnect=True) as bus:
        asyncio.run(cut_off(bus, server))
        server = serve()

        async def again() -> bytes:
            return await who.acall(bus, b"", timeout=10)

        assert asyncio.run(again()) == pid(server)


@pytest.mark.parametrize("form", ["call", "acall", "pool.call", "pool.acall"])
def test_who_may_have_begun_a_call_is_told_by_its_last_error(peer: Callable[[str], Peer], path: str, form: str) -> None:
    """An idempotent request is lost with its callee, and nobody takes its place."""
    callee = peer(SERVER.replace("os._exit(1)", "os._exit(0)"))
    assert callee.line() == "ready"
    with tachyon.Pool(path, timeout=0.3) as pool:
        bus = RpcBus.connect(path, timeout=0.3, reconnect=True)
        with pytest.raises(tachyon.NoListenerError) as raised:
            if form == "call":
                die_idempotent.call(bus, b"")
            elif form == "acall":
                asyncio.run(die_idempotent.acall(bus, b""))
            elif form == "pool.call":
                pool.call(die_idempotent, b"")
            else:
                asyncio.run(pool.acall(die_idempotent, b""))
        assert raised.value.safe_to_retry is False


def test_a_relative_path_is_made_absolute_once(
    serve: Callable[[], Peer], peer: Callable[[str], Peer], path: str
) -> None:
    server = serve()
    caller = peer("""
        import asyncio, os
        who = tachyon.tachyon_rpc(1)(bytes)
        os.chdir(os.path.dirname(path))
        name = os.path.basename(path)
        with tachyon.RpcBus.connect(name, reconnect=True) as bus, tachyon.Pool(name) as pool:
            who.call(bus, b"")
            os.chdir("/")
            print("ready", flush=True)
            sys.stdin.readline()
            print(who.call(bus, b"", timeout=10) == pool.call(who, b"") == asyncio.run(pool.acall(who, b"")))
    """)
    assert caller.line() == "ready"
    server.kill()
    serve()
    caller.tell("go")
    assert caller.join() == "True\n"
