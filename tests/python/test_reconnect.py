"""Callers that outlive their callee: which requests are sent again."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon
from programs import program
from tachyon import RpcBus, f64, i64, tachyon_rpc, u64

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

process_id = tachyon_rpc(10)(bytes)
die = tachyon_rpc(11)(bytes)
sleep_and_stop = tachyon_rpc(12)(bytes)
die_idempotent = tachyon_rpc(11, idempotent=True)(bytes)


@pytest.fixture
def serve(service: Callable[..., Peer]) -> Callable[[], Peer]:
    """Return a function that starts the server of `basics`."""
    return lambda: service("basics", "server")


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
    """Count the descriptors of this process, without the pipes to its children."""
    gc.collect()
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(not str(link.readlink()).startswith("pipe:") for link in links)


@pytest.mark.parametrize("orderly", [True, False])
def test_the_next_call_connects(serve: Callable[[], Peer], path: str, orderly: bool) -> None:
    server = serve()
    with RpcBus.connect(path, reconnect=True) as bus:
        before = descriptors()
        for _ in range(3):
            assert process_id.call(bus, b"", timeout=10) == pid(server)
            outstanding = [bus.call(b"", process_id.msg_type) for _ in range(2)]
            # The replies come before the end of the server, and the caller keeps them.
            assert process_id.call(bus, b"", timeout=10) == pid(server)
            stop(server, orderly)
            server = serve()
            assert process_id.call(bus, b"", timeout=10) == pid(server)
            for call in outstanding:
                with bus.wait(call, timeout=5) as reply:
                    assert bytes(reply) != pid(server)
            assert descriptors() == before
        with pytest.raises(tachyon.errors.WrongDirectionError):
            bus.serve()


def test_without_reconnect_the_end_stays(serve: Callable[[], Peer], path: str) -> None:
    server = serve()
    with RpcBus.connect(path) as bus:
        assert process_id.call(bus, b"", timeout=10) == pid(server)
        server.kill()
        serve()
        for _ in range(2):
            with pytest.raises(tachyon.PeerDeadError):
                process_id.call(bus, b"", timeout=10)


def test_only_idempotent_requests_are_sent_again(serve: Callable[[], Peer], path: str) -> None:
    assert die_idempotent.idempotent
    assert not die.idempotent
    server = serve()
    replacing = threading.Thread(target=lambda: (server.process.wait(), serve()))
    replacing.start()
    with RpcBus.connect(path, timeout=10, reconnect=True) as bus:
        assert die_idempotent.call(bus, b"", timeout=10) == b"survived"
    replacing.join()


def test_other_requests_are_lost_with_their_callee(serve: Callable[[], Peer], path: str) -> None:
    serve()
    with RpcBus.connect(path, timeout=2, reconnect=True) as bus:
        with pytest.raises(tachyon.PeerDeadError) as lost:
            die.call(bus, b"", timeout=10)
        assert not lost.value.safe_to_retry
        with pytest.raises(tachyon.NoListenerError, match=path) as missing:
            process_id.call(bus, b"")
        assert missing.value.safe_to_retry
        # The shorter timeout of the call ends it, with the same cause.
        started = time.monotonic()
        with pytest.raises(tachyon.NoListenerError, match=path):
            process_id.call(bus, b"", timeout=0.02)
        assert time.monotonic() - started < 1.5
        server = serve()
        assert process_id.call(bus, b"") == pid(server)


def test_close_while_it_connects(serve: Callable[[], Peer], path: str) -> None:
    server = serve()
    bus = RpcBus.connect(path, timeout=0.5, reconnect=True)
    assert process_id.call(bus, b"", timeout=10) == pid(server)
    server.kill()
    # The caller sees the death at the next tick of the clock.
    time.sleep(0.02)
    outcome: list[BaseException] = []

    def call() -> None:
        try:
            process_id.call(bus, b"")
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
                assert await process_id.acall(bus, b"", timeout=10) == pid(server)
                stop(server, orderly)
                await asyncio.sleep(0.02)
                server = serve()
                # All calls share one connection.
                replies = await asyncio.gather(*(process_id.acall(bus, b"", timeout=10) for _ in range(20)))
                assert set(replies) == {pid(server)}
            with pytest.raises(tachyon.PeerDeadError) as lost:
                await die.acall(bus, b"", timeout=10)
            assert not lost.value.safe_to_retry
            for timeout in (None, 0.02):
                with pytest.raises(tachyon.NoListenerError, match=path) as missing:
                    await process_id.acall(bus, b"", timeout=timeout)
                assert missing.value.safe_to_retry
            assert threading.active_count() == threads
        server = serve()
        forget_death(path)
        # The timeout is long enough for the next server.
        with RpcBus.connect(path, timeout=10, reconnect=True) as bus:
            assert await process_id.acall(bus, b"") == pid(server)
            starting = asyncio.create_task(asyncio.to_thread(lambda: (server.process.wait(), serve())[1]))
            assert await die_idempotent.acall(bus, b"", timeout=10) == b"survived"
            await starting

    asyncio.run(main())


def test_requests_that_a_stopping_server_has_not_begun_go_to_the_next_server(
    serve: Callable[[], Peer], path: str
) -> None:
    def restart(server: Peer, other: RpcBus) -> Peer:
        other.call(b"", sleep_and_stop.msg_type)
        # The call of the test lies behind this one.
        time.sleep(0.1)
        server.process.wait(10)
        return serve()

    async def from_a_loop(bus: RpcBus, server: Peer, other: RpcBus) -> tuple[bytes, Peer]:
        await process_id.acall(bus, b"")
        other.call(b"", sleep_and_stop.msg_type)
        await asyncio.sleep(0.05)
        called = asyncio.create_task(process_id.acall(bus, b"", timeout=10))
        await asyncio.to_thread(server.process.wait, 10)
        following = await asyncio.to_thread(serve)
        return await called, following

    server = serve()
    with RpcBus.connect(path, timeout=10, reconnect=True) as bus, RpcBus.connect(path) as other:
        assert process_id.call(bus, b"") == pid(server)
        following: list[Peer] = []
        restarting = threading.Thread(target=lambda: following.append(restart(server, other)))
        restarting.start()
        time.sleep(0.05)
        answered = process_id.call(bus, b"", timeout=10)
        restarting.join()
        assert answered == pid(following[0])
    server = following[0]
    with RpcBus.connect(path, timeout=10, reconnect=True) as bus, RpcBus.connect(path) as other:
        answered, last = asyncio.run(from_a_loop(bus, server, other))
        assert answered == pid(last)


def test_a_reconnect_that_is_cut_off_leaves_a_bus_that_works(serve: Callable[[], Peer], path: str) -> None:
    async def cut_off(bus: RpcBus, server: Peer) -> None:
        assert await process_id.acall(bus, b"") == pid(server)
        server.kill()
        await asyncio.sleep(0.02)
        calling = asyncio.create_task(process_id.acall(bus, b""))
        # The loop ends while the bus connects.
        await asyncio.sleep(0.1)
        assert not calling.done()

    server = serve()
    with RpcBus.connect(path, timeout=30, reconnect=True) as bus:
        asyncio.run(cut_off(bus, server))
        server = serve()

        async def again() -> bytes:
            return await process_id.acall(bus, b"", timeout=10)

        assert asyncio.run(again()) == pid(server)


@pytest.mark.parametrize("form", ["call", "acall", "pool.call", "pool.acall"])
def test_the_last_error_says_whether_a_callee_may_have_begun_the_call(
    serve: Callable[[], Peer], path: str, form: str
) -> None:
    """An idempotent request is lost with its callee, and no other server comes."""
    serve()
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


class PriceRequest(tachyon.Struct):
    """The request of the program `typed_peer`."""

    instrument: u64
    quantity: i64


class PriceReply(tachyon.Struct):
    """The reply of the program `typed_peer`."""

    bid: f64
    ask: f64


@tachyon_rpc(msg_type=2)
def price(request: PriceRequest) -> PriceReply: ...


def compared(path: str, how: str) -> subprocess.Popen[str]:
    """Start a callee that answers comparisons, or dies at the first one."""
    return subprocess.Popen([program("typed_peer"), "compared", path, how], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("from_loop", [True, False])
def test_a_callee_that_dies_at_the_comparison_has_not_begun_the_call(path: str, from_loop: bool) -> None:
    request = PriceRequest(instrument=7, quantity=100)

    def call(bus: RpcBus) -> PriceReply:
        return asyncio.run(price.acall(bus, request)) if from_loop else price.call(bus, request)

    with compared(path, "die") as callee, RpcBus.connect(path) as bus:
        with pytest.raises(tachyon.PeerDeadError) as lost:
            call(bus)
        assert lost.value.safe_to_retry
        callee.wait(10)
    with compared(path, "die") as callee, RpcBus.connect(path, reconnect=True) as bus, ThreadPoolExecutor() as threads:
        outcome = threads.submit(call, bus)
        callee.wait(10)
        with compared(path, "answer") as second:
            assert outcome.result(10) == PriceReply(bid=99.0, ask=101.0)
            bus.close()
            assert second.communicate(timeout=10)[0] == "1\n"


def test_a_relative_path_is_made_absolute_once(
    serve: Callable[[], Peer], peer: Callable[[str], Peer], path: str
) -> None:
    server = serve()
    caller = peer("""
        import asyncio, os
        process_id = tachyon.tachyon_rpc(10)(bytes)
        os.chdir(os.path.dirname(path))
        name = os.path.basename(path)
        with tachyon.RpcBus.connect(name, reconnect=True) as bus, tachyon.Pool(name) as pool:
            process_id.call(bus, b"")
            os.chdir("/")
            print("ready", flush=True)
            sys.stdin.readline()
            first = process_id.call(bus, b"", timeout=10)
            print(first == pool.call(process_id, b"") == asyncio.run(pool.acall(process_id, b"")))
    """)
    assert caller.line() == "ready"
    server.kill()
    serve()
    caller.tell("go")
    assert caller.join() == "True\n"
