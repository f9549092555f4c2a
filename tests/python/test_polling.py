"""The words of `polling`: what a wait does, on buses, servers and pools."""

from __future__ import annotations

import asyncio
import resource
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon
from tachyon import Bus, Pool, RpcBus, RpcServer, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer
    from tachyon._connecting import Polling

WORDS: tuple[Polling, ...] = ("adaptive", "spin", "park")

sleep = tachyon_rpc(3)(bytes)


def sleeps_of(operation: Callable[[], object]) -> int:
    """Count how often this thread sleeps in an operation that times out."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    with pytest.raises(tachyon.TimedOutError):
        operation()
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before


@pytest.fixture
def receiver(peer: Callable[..., Peer], path: str) -> Callable[[Polling], Bus]:
    """Return a function that connects to a sender that sends nothing."""

    def connect(word: Polling) -> Bus:
        silent = peer("with tachyon.Bus.listen(path, 4096) as bus: print('there'); sys.stdin.read()")
        bus = Bus.connect(path, polling=word)
        assert silent.line() == "there"
        return bus

    return connect


@pytest.mark.parametrize("word", WORDS)
def test_a_bus_waits_as_its_word_says(receiver: Callable[[Polling], Bus], word: Polling) -> None:
    with receiver(word) as bus:
        slept = sleeps_of(lambda: bus.recv(timeout=0.3))
    # A wait that parks looks for signals every 50 ms.
    assert slept >= 3 if word != "spin" else slept <= 2


def test_the_mode_changes_by_word_and_by_switch(receiver: Callable[[Polling], Bus]) -> None:
    with receiver("park") as bus:
        for mode, parks in (("spin", False), ("adaptive", True), (1, False), (0, True), ("spin", False)):
            bus.set_polling_mode(mode)
            slept = sleeps_of(lambda: bus.recv(timeout=0.3))
            assert (slept >= 3) == parks, (mode, slept)


@pytest.mark.parametrize("reconnect", [False, True])
def test_a_caller_waits_as_its_word_says(service: Callable[..., Peer], path: str, *, reconnect: bool) -> None:
    service("basics", "server", quiet=True)
    for word in WORDS:
        with RpcBus.connect(path, polling=word, reconnect=reconnect) as bus:
            slept = sleeps_of(lambda bus=bus: sleep.call(bus, b"0.5", timeout=0.3))
            assert slept >= 3 if word != "spin" else slept <= 2, (word, slept)


def test_a_listener_waits_as_its_word_says(peer: Callable[..., Peer], path: str) -> None:
    caller = peer("with tachyon.RpcBus.connect(path, timeout=60) as bus: print('there'); sys.stdin.read()")
    with RpcBus.listen(path, 4096, 4096, polling="spin") as bus:
        assert caller.line() == "there"
        assert sleeps_of(lambda: bus.serve(timeout=0.3)) <= 2
        bus.set_polling_mode("park")
        assert sleeps_of(lambda: bus.serve(timeout=0.3)) >= 3


def test_a_pool_gives_its_callers_their_mode_back(service: Callable[..., Peer], path: str) -> None:
    service("basics", "server", quiet=True)
    with Pool(path, 1, polling="spin") as pool:
        for _ in range(2):
            with pool.caller() as bus:
                assert sleeps_of(lambda bus=bus: sleep.call(bus, b"0.4", timeout=0.3)) <= 2
                bus.set_polling_mode("park")
                assert sleeps_of(lambda bus=bus: sleep.call(bus, b"0.4", timeout=0.3)) >= 3
        # The event loop's connect has the mode, too.
        with pool.caller() as bus:
            bus.close()
        asyncio.run(pool.acall(sleep, b"0", timeout=60))
        with pool.caller() as bus:
            assert sleeps_of(lambda bus=bus: sleep.call(bus, b"0.4", timeout=0.3)) <= 2


def switches(pid: int) -> int:
    """Count how often the main thread of a process has slept."""
    status = Path(f"/proc/{pid}/task/{pid}/status").read_text()
    return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])


@pytest.mark.parametrize("word", WORDS)
def test_a_server_looks_at_its_callers_as_its_word_says(service: Callable[..., Peer], path: str, word: Polling) -> None:
    server = service("basics", "server", polling=word)
    echo = tachyon_rpc(1)(bytes)
    with RpcBus.connect(path) as bus:
        # A server without callers sleeps in every mode.
        echo.call(bus, b"x")
        time.sleep(0.1)
        # The reading of signals takes the GIL, and may sleep for it.
        quiet = min(slept_in(server.process.pid, 0.2) for _ in range(5))
        assert quiet == 0 if word == "spin" else quiet > 0


def slept_in(pid: int, seconds: float) -> int:
    before = switches(pid)
    time.sleep(seconds)
    return switches(pid) - before


WRONG: dict[str, Callable[..., object]] = {
    "Bus.listen": lambda path, word: Bus.listen(path, 4096, polling=word),
    "Bus.connect": lambda path, word: Bus.connect(path, polling=word),
    "RpcBus.listen": lambda path, word: RpcBus.listen(path, 4096, 4096, polling=word),
    "RpcBus.connect": lambda path, word: RpcBus.connect(path, polling=word),
    "RpcBus.aconnect": lambda path, word: RpcBus.aconnect(path, polling=word),
    "RpcServer": lambda path, word: RpcServer(path, polling=word),
    "Pool": lambda path, word: Pool(path, polling=word),
}


@pytest.mark.parametrize("place", WRONG)
def test_another_word_is_refused_with_the_list(path: str, place: str) -> None:
    with pytest.raises(ValueError, match='"adaptive", "spin" and "park", not "fast"'):
        WRONG[place](path, "fast")
    with pytest.raises(TypeError, match='"adaptive", "spin" and "park", not int'):
        WRONG[place](path, 1)
    assert not Path(path).exists()


def test_another_mode_is_refused_and_the_bus_goes_on(receiver: Callable[[Polling], Bus]) -> None:
    with ExitStack() as stack:
        bus = stack.enter_context(receiver("park"))
        with pytest.raises(ValueError, match='"adaptive", "spin" and "park", not "fast"'):
            bus.set_polling_mode("fast")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="pure_spin is a switch from 0 to 1, not 2"):
            bus.set_polling_mode(2)
        with pytest.raises(TypeError, match="not float"):
            bus.set_polling_mode(0.5)  # type: ignore[arg-type]
        assert sleeps_of(lambda: bus.recv(timeout=0.3)) >= 3
