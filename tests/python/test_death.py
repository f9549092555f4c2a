"""Deaths at chosen and at random points between actors of both languages, and peers that are stopped but alive."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import tachyon
from actor_scene import Stream
from programs import ROOT, program
from tachyon import RpcBus, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

echo = tachyon_rpc(1)(bytes)


def chaos(*arguments: str) -> None:
    command = [program("chaos"), *arguments, "--python", sys.executable, "--script", ROOT / "tests/python/actor.py"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_survivors_get_committed_messages_and_then_the_death() -> None:
    chaos("kill", "--rounds", "25", "--seed", "2")


def test_everything_that_is_sent_is_received() -> None:
    chaos("soak", "--seconds", "6", "--seed", "2")


def test_both_languages_make_the_same_messages() -> None:
    # `tests/src/chaos/stream.rs` has the same numbers.
    stream = Stream(3, 0, 1000)
    assert [stream.len_of(number) for number in range(8)] == [721, 111, 890, 740, 126, 24, 995, 237]


def test_a_stopped_sender_is_waited_for(peer: Callable[[str], Peer], path: str) -> None:
    sender = peer("""
        with tachyon.Bus.connect(path) as bus:
            for n in range(20000):
                bus.send(b"%d" % n)
    """)
    with tachyon.Bus.listen(path, 4096) as bus:
        assert bus.recv().data == b"0"
        sender.process.send_signal(signal.SIGSTOP)
        received = 1
        with pytest.raises(TimeoutError):
            while True:
                assert bus.recv(timeout=0.15).data == b"%d" % received
                received += 1
        with pytest.raises(TimeoutError):
            bus.recv(timeout=0.15, spin_threshold=0)
        sender.process.send_signal(signal.SIGCONT)
        for message in bus:
            assert message.data == b"%d" % received
            received += 1
    assert received == 20000
    sender.join()


def test_a_stopped_receiver_is_waited_for(peer: Callable[[str], Peer], path: str) -> None:
    receiver = peer("""
        with tachyon.Bus.listen(path, 4096) as bus:
            print([message.data for message in bus] == [b"%d" % n for n in range(3000)])
    """)
    with tachyon.Bus.connect(path) as bus:
        receiver.process.send_signal(signal.SIGSTOP)
        sent = 0
        with pytest.raises(TimeoutError):
            while True:
                bus.send(b"%d" % sent, timeout=0.15)
                sent += 1
        receiver.process.send_signal(signal.SIGCONT)
        for number in range(sent, 3000):
            bus.send(b"%d" % number)
    assert receiver.join() == "True\n"


def test_a_stopped_callee_is_waited_for(service: Callable[..., Peer], path: str) -> None:
    callee = service("basics", "bus", rings=(4096, 4096))
    with RpcBus.connect(path) as bus:
        assert echo.call(bus, b"before") == b"before"
        callee.process.send_signal(signal.SIGSTOP)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                echo.call(bus, b"late", timeout=0.1)
        patient = bus.call(b"patient", 1)
        callee.process.send_signal(signal.SIGCONT)
        with bus.wait(patient) as reply:
            assert bytes(reply) == b"patient"
        assert echo.call(bus, b"after") == b"after"
    callee.join()


def test_a_stopped_callee_is_awaited(service: Callable[..., Peer], path: str) -> None:
    callee = service("basics", "bus", rings=(4096, 4096))

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            assert await echo.acall(bus, b"before") == b"before"
            callee.process.send_signal(signal.SIGSTOP)
            late = [echo.acall(bus, b"late", timeout=0.15) for _ in range(20)]
            outcomes = await asyncio.gather(*late, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {tachyon.TimedOutError}
            patient = asyncio.create_task(echo.acall(bus, b"patient"))
            await asyncio.sleep(0.05)
            assert not patient.done()
            callee.process.send_signal(signal.SIGCONT)
            assert await patient == b"patient"
            assert await echo.acall(bus, b"after") == b"after"

    asyncio.run(main())
    callee.join()


@pytest.mark.parametrize("way", ["bus", "bus_loop"])
def test_a_stopped_caller_is_waited_for(peer: Callable[[str], Peer], service: Callable[..., Peer], way: str) -> None:
    callee = service("basics", way, rings=(4096, 4096))
    caller = peer("""
        echo = tachyon.tachyon_rpc(1)(bytes)
        with tachyon.RpcBus.connect(path) as bus:
            print("calling", flush=True)
            for n in range(10000):
                assert echo.call(bus, b"%d" % n) == b"%d" % n
    """)
    assert caller.line() == "calling"
    caller.process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    assert callee.process.poll() is None
    caller.process.send_signal(signal.SIGCONT)
    assert caller.join() == ""
    assert callee.join() == "served\n"
