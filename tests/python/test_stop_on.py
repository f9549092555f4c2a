"""`stop_on`: signals stop a server in good order, and leave the program's handlers as they were."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import forks
import tachyon
from tachyon import ErrorKind, RpcBus, RpcDispatcher, RpcServer, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

LOOPS = ("asyncio", "uvloop")
WAYS = ("thread", "workers", "rust", *LOOPS)
MAIN = '["MainThread"]\n'

echo, sleep, hang = (tachyon_rpc(number)(bytes) for number in range(101, 104))


@pytest.fixture
def stopped(service: Callable[..., Peer]) -> Callable[..., Peer]:
    """Return a function that starts the server, in one of its ways."""
    return lambda way, **options: service("stopped_by_signal", way, **options)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("way", WAYS)
def test_a_signal_stops_an_idle_server(
    stopped: Callable[..., Peer], path: str, way: str, number: signal.Signals
) -> None:
    server = stopped(way)
    with RpcBus.connect(path) as bus:
        assert echo.call(bus, b"there") == b"there"
        server.process.send_signal(number)
        assert server.join() == "served\n" + MAIN
        with pytest.raises(tachyon.PeerClosedError):
            echo.call(bus, b"gone")
    assert not Path(path).exists()


@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_has_begun_gets_its_reply(stopped: Callable[..., Peer], path: str, way: str) -> None:
    server = stopped(way, stop_timeout=30.0)
    with RpcBus.connect(path) as bus:
        begun = bus.start(b"0.4", sleep.msg_type)
        assert server.line() == "sleeps"
        waiting = bus.start(b"later", echo.msg_type)
        server.process.send_signal(signal.SIGTERM)
        with bus.finish(begun, timeout=60) as reply:
            assert bytes(reply) == b"slept"
        with bus.finish(waiting, timeout=60) as reply:
            assert reply.error_kind == ErrorKind.STOPPING
        assert server.join() == "served\n" + MAIN


@pytest.mark.parametrize("way", WAYS)
def test_more_signals_of_the_same_kind_are_harmless(stopped: Callable[..., Peer], path: str, way: str) -> None:
    server = stopped(way, stop_timeout=30.0)
    with RpcBus.connect(path) as bus:
        begun = bus.start(b"0.5", sleep.msg_type)
        assert server.line() == "sleeps"
        for _ in range(5):
            server.process.send_signal(signal.SIGTERM)
        with bus.finish(begun, timeout=60) as reply:
            assert bytes(reply) == b"slept"
        assert server.join() == "served\n" + MAIN


@pytest.mark.parametrize("way", ["thread", *LOOPS])
def test_a_second_ctrl_c_interrupts_a_handler_that_hangs(stopped: Callable[..., Peer], path: str, way: str) -> None:
    server = stopped(way)
    with RpcBus.connect(path) as bus:
        call = bus.start(b"", hang.msg_type)
        assert server.line() == "hangs"
        for _ in range(2 if way == "thread" else 3):
            # The loop's own handler, the one from before, takes one signal to cancel the serving task.
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        with bus.finish(call, timeout=60) as reply:
            assert reply.error_kind == ErrorKind.HANDLER_FAILED
        assert server.join() == "interrupted, closed True\n" + MAIN


@pytest.mark.parametrize("way", WAYS)
def test_the_programs_handler_comes_back(stopped: Callable[..., Peer], path: str, way: str) -> None:
    server = stopped(way, own_handler=True)
    with RpcBus.connect(path) as bus:
        echo.call(bus, b"there")
    server.process.send_signal(signal.SIGTERM)
    assert server.join() == "served\ntheirs SIGTERM\n" + MAIN


@pytest.mark.parametrize("way", WAYS)
def test_other_signals_keep_their_handlers(stopped: Callable[..., Peer], path: str, way: str) -> None:
    server = stopped(way, signals=["SIGTERM"])
    with RpcBus.connect(path) as bus:
        echo.call(bus, b"there")
    server.process.send_signal(signal.SIGINT)
    assert server.join() == "interrupted, closed True\n" + MAIN


@pytest.mark.parametrize("loop", LOOPS)
def test_a_signal_stops_every_server_of_a_loop(peer: Callable[..., Peer], path: str, loop: str) -> None:
    server = peer(f"""
        import asyncio, signal, {loop}

        async def serve(name, **options):
            dispatcher = tachyon.RpcDispatcher()
            with tachyon.RpcServer(path + name) as server:
                await dispatcher.aserve(server, **options)
            print(name)

        async def main():
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR1, print, "theirs")
            stop_on = (signal.SIGUSR1, signal.SIGTERM)
            both = asyncio.gather(serve("one", stop_on=stop_on), serve("two", stop_on=(signal.SIGTERM,)))
            await asyncio.sleep(0)
            print("ready", flush=True)
            while not both.done():
                await asyncio.sleep(0.01)
            await both
            # The loop's handlers of the program go on.
            signal.raise_signal(signal.SIGUSR1)
            await asyncio.sleep(0.05)
            assert loop.remove_signal_handler(signal.SIGUSR1)

        with asyncio.Runner(loop_factory={loop}.new_event_loop) as runner:
            runner.run(main())
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    """)
    assert server.line() == "ready"
    server.process.send_signal(signal.SIGUSR1)
    lines = sorted(server.line() for _ in range(2))
    assert lines == ["one", "theirs"]
    server.process.send_signal(signal.SIGTERM)
    assert server.join() == "two\ntheirs\n"


def test_a_handler_that_the_program_sets_meanwhile_stays(peer: Callable[..., Peer], path: str) -> None:
    server = peer("""
        import signal
        dispatcher = tachyon.RpcDispatcher()

        @dispatcher.handler(101)
        def change(payload):
            signal.signal(signal.SIGTERM, theirs)
            return b""

        def theirs(number, frame):
            print("theirs")
            server.stop()

        with tachyon.RpcServer(path) as server:
            print("ready", flush=True)
            dispatcher.serve_forever(server, stop_on=[signal.SIGTERM])
        assert signal.getsignal(signal.SIGTERM) is theirs
    """)
    assert server.line() == "ready"
    with RpcBus.connect(path) as bus:
        echo.call(bus, b"")
    server.process.send_signal(signal.SIGTERM)
    assert server.join() == "theirs\n"


def test_a_forked_child_has_the_programs_handlers(path: str) -> None:
    def in_child() -> bool:
        # The child may serve too.
        with RpcServer(path + "child") as own:
            timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
            timer.start()
            RpcDispatcher().serve_forever(own, stop_on=(signal.SIGUSR1,))
            timer.join()
        return signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL

    dispatcher = RpcDispatcher()

    @dispatcher.handler(101)
    def ends(_: memoryview) -> bytes:
        forks.in_child(lambda: signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL)
        forks.in_child(in_child)
        ready, tell = os.pipe()
        child = forks.fork()
        if child == 0:
            os.write(tell, b"!")
            time.sleep(forks.LIMIT)
            os._exit(0)
        # Python drops a signal that comes during the fork.
        assert os.read(ready, 1) == b"!"
        os.close(ready)
        os.close(tell)
        os.kill(child, signal.SIGUSR1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return str(status).encode()

    with RpcServer(path) as server, ThreadPoolExecutor(1) as pool:

        def call() -> bytes:
            try:
                with RpcBus.connect(path) as bus:
                    return echo.call(bus, b"")
            finally:
                server.stop()

        called = pool.submit(call)
        dispatcher.serve_forever(server, stop_on=(signal.SIGUSR1,))
        assert called.result() == str(-signal.SIGUSR1).encode()


def serve_here(path: str, stop_on: object) -> None:
    with RpcServer(path) as server:
        RpcDispatcher().serve_forever(server, stop_on=stop_on)  # type: ignore[arg-type]


def serve_in_loop(path: str, stop_on: object) -> None:
    async def main() -> None:
        async with RpcServer(path) as server:
            await RpcDispatcher().aserve(server, stop_on=stop_on)  # type: ignore[arg-type]

    asyncio.run(main())


SERVES = [serve_here, serve_in_loop]


@pytest.mark.parametrize("serve", SERVES)
@pytest.mark.parametrize(
    ("stop_on", "error", "text"),
    [
        (signal.SIGTERM, TypeError, r"such as \(signal.SIGTERM, signal.SIGINT\), not Signals"),
        (("SIGTERM",), TypeError, "not str"),
        ((True,), TypeError, "not bool"),
        ((signal.SIGTERM, 900), ValueError, "900 is no signal"),
        ((signal.SIGTERM, signal.SIGKILL), ValueError, "SIGKILL cannot be handled"),
        ((signal.SIGTERM, signal.SIGSTOP), ValueError, "SIGSTOP cannot be handled"),
    ],
)
def test_what_is_no_signal_is_refused(
    path: str, serve: Callable[..., None], stop_on: object, error: type[Exception], text: str
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(error, match=text):
        serve(path, stop_on)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("serve", SERVES)
def test_only_the_main_thread_may_pass_signals(path: str, serve: Callable[..., None]) -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            serve(path, (signal.SIGTERM,))
        except ValueError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert "only the main thread handles signals" in str(raised[0])


@pytest.mark.parametrize("serve", SERVES)
def test_a_handler_that_cannot_come_back_is_not_replaced(
    path: str, serve: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    with pytest.raises(ValueError, match="SIGTERM has a handler that Python did not set"):
        serve(path, (signal.SIGTERM,))


def test_signals_stop_servers_only(peer: Callable[..., Peer], path: str) -> None:
    caller = peer("with tachyon.RpcBus.connect(path) as bus: sys.stdin.read()")
    with RpcBus.listen(path, 4096, 4096) as bus:
        with pytest.raises(ValueError, match="stop_on stops an RpcServer"):
            RpcDispatcher().serve_forever(bus, stop_on=(signal.SIGTERM,))
        # The bus is as it was.
        caller.hang_up()
        RpcDispatcher().serve_forever(bus)


def test_a_signal_before_the_first_turn_counts(path: str) -> None:
    """The server stops even if the signal comes before it serves."""
    dispatcher = RpcDispatcher()
    with RpcServer(path) as server:
        server.stop()
        dispatcher.serve_forever(server, stop_on=(signal.SIGUSR1,))
        assert server.closed
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_no_signal_is_lost_around_the_serving(path: str) -> None:
    """A server that is served again and again stops at every signal."""
    for _ in range(20):
        with RpcServer(path) as server:
            timer = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1))
            signal.signal(signal.SIGUSR1, lambda *_, server=server: server.stop())
            timer.start()
            try:
                RpcDispatcher().serve_forever(server, stop_on=(signal.SIGUSR1,))
            finally:
                timer.join()
                signal.signal(signal.SIGUSR1, signal.SIG_DFL)
            assert server.closed
