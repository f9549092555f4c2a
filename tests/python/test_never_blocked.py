"""Each request ends for its caller at once, and the bus goes on.

Callees and callers are in either language: `mishaps.py` here, the program `mishaps` in Rust. The Rust tests have the
pairs of Rust with Rust.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon
from programs import PYTHON, program
from tachyon import Pool, RpcBus, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCRIPT = Path(__file__).with_name("mishaps.py")
LIMIT = 60.0
"""Seconds after which a process is given up."""

AT_ONCE = 20.0
"""Seconds within which a dozen calls have failed and as many succeeded, on a busy machine."""

RUST_FORMS = ("callee", "server", "workers", "tokio")
PYTHON_FORMS = ("bus", "server", "workers", "async", "async_bus")

# The mishap in the callee, and the outcome for its caller.
ANYWHERE = {
    "404": "NoHandler",
    "2": "HandlerFailed",
    "3": "HandlerFailed",
    "4": "ReplyTooLarge",
    "8:exits": "parent",
}
IN_RUST = {"7": "BadRequest"}
IN_PYTHON = {
    "8:touches": "parent",
    "10": "BadReply",
    "11": "BadReply",
    "12": "HandlerFailed",
    "13": "meddled",
    "14": "replaced",
    "15": "BadReply",
    "20": "BadReply",
}
RUNS_ON = {"8:runs": "parent"}
"""Not for programs with threads: their forked child can only end or become another program."""
ON_TOKIO = {"10": "HandlerFailed", "11": "HandlerFailed", "12": "ReplyTooLarge"}
ON_ASYNCIO = {"30": "HandlerFailed", "31": "BadReply", "32": "ReplyTooLarge", "33": "HandlerFailed", "34": "a copy"}


def cases(language: str, form: str) -> dict[str, str]:
    """Return every mishap after which the bus is usable."""
    found = dict(ANYWHERE)
    if form not in ("workers", "tokio"):
        found |= RUNS_ON
    found |= IN_RUST if language == "Rust" else IN_PYTHON
    if form == "tokio":
        found |= ON_TOKIO
    if form.startswith("async"):
        found |= ON_ASYNCIO
    return found


class Callee:
    """A process that serves in one of the forms."""

    def __init__(self, language: str, form: str, path: str) -> None:
        command = [program("mishaps")] if language == "Rust" else [*PYTHON, str(SCRIPT)]
        self.note_path = Path(path).with_suffix(".child" if language == "Rust" else ".note")
        self.process = subprocess.Popen([*command, form, path], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + LIMIT
        while not os.path.lexists(path):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def ends_well(self) -> None:
        _, err = self.process.communicate(timeout=LIMIT)
        assert (self.process.returncode, err) == (0, "")

    def notes(self) -> list[str]:
        return self.note_path.read_text().splitlines() if self.note_path.exists() else []


@pytest.fixture
def serve(path: str) -> Iterator[Callable[[str, str], Callee]]:
    """Return a function that starts a callee."""
    with ExitStack() as stack:

        def start(language: str, form: str) -> Callee:
            callee = Callee(language, form, path)
            stack.callback(callee.process.communicate)
            stack.callback(callee.process.kill)
            return callee

        yield start


def word(error: Exception) -> str:
    if isinstance(error, tachyon.RpcError):
        return error.kind.name.title().replace("_", "")
    names = {
        tachyon.PeerClosedError: "Closed",
        tachyon.PeerDeadError: "PeerDead",
        tachyon.NoListenerError: "NoListener",
    }
    return names.get(type(error), repr(error))


def endpoint(msg_type: int) -> tachyon.RpcEndpoint:
    return tachyon_rpc(msg_type)(len)


def tell(call: Callable[[tachyon.RpcEndpoint, bytes], bytes], mishaps: list[str]) -> list[str]:
    """Make the calls, each followed by a good call; return the outcomes in the words of the Rust program."""

    def outcome(msg_type: int, payload: bytes) -> str:
        try:
            return bytes(call(endpoint(msg_type), payload)).decode()
        except tachyon.TachyonError as error:
            return word(error)

    lines = []
    for mishap in mishaps:
        msg_type, _, payload = mishap.partition(":")
        first = outcome(int(msg_type), (payload or "abc").encode())
        good = outcome(1, b"good")
        lines.append(f"{first} {'usable' if good == 'good' else good}")
    return lines


def by_bus(path: str, mishaps: list[str]) -> list[str]:
    with RpcBus.connect(path) as bus:
        return tell(lambda endpoint, payload: endpoint.call(bus, payload, timeout=AT_ONCE), mishaps)


def by_wait(path: str, mishaps: list[str]) -> list[str]:
    """Call by the low level, where an error reply is an ordinary reply."""

    def call(endpoint: tachyon.RpcEndpoint, payload: bytes) -> bytes:
        cid = bus.call(payload, endpoint.msg_type)
        with bus.wait(cid, timeout=AT_ONCE) as rx:
            if rx.error_kind is None:
                return bytes(rx)
            raise tachyon.RpcError(rx.error_kind, endpoint.msg_type)

    with RpcBus.connect(path) as bus:
        return tell(call, mishaps)


def by_pool(path: str, mishaps: list[str]) -> list[str]:
    with Pool(path, 1) as pool:
        return tell(lambda endpoint, payload: pool.call(endpoint, payload, timeout=2.0), mishaps)


def by_acall(path: str, mishaps: list[str]) -> list[str]:
    with asyncio.Runner() as runner, RpcBus.connect(path) as bus:
        return tell(lambda endpoint, payload: runner.run(endpoint.acall(bus, payload, timeout=AT_ONCE)), mishaps)


def by_rust(role: str) -> Callable[[str, list[str]], list[str]]:
    def told(path: str, mishaps: list[str]) -> list[str]:
        command = [program("mishaps"), role, path, *mishaps]
        return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True).stdout.splitlines()

    return told


PYTHON_CALLERS = {"bus": by_bus, "wait": by_wait, "pool": by_pool, "acall": by_acall}
RUST_CALLERS = {f"rust_{role}": by_rust(role) for role in ("caller", "pool", "async")}


def check(callee: Callee, found: dict[str, str], told: Callable[[str, list[str]], list[str]], path: str) -> list[str]:
    """Cause every mishap, the last of which ends the process; return the notes of the callee."""
    started = time.monotonic()
    lines = told(path, [*found, "5"])
    assert time.monotonic() - started < AT_ONCE
    assert lines[:-1] == [f"{word} usable" for word in found.values()]
    assert lines[-1] in ("PeerDead PeerDead", "PeerDead NoListener", "PeerDead Unreachable")
    callee.ends_well()
    return callee.notes()


@pytest.mark.parametrize("form", PYTHON_FORMS)
@pytest.mark.parametrize("caller", PYTHON_CALLERS | RUST_CALLERS)
def test_a_python_callee(serve: Callable[[str, str], Callee], path: str, form: str, caller: str) -> None:
    told = (PYTHON_CALLERS | RUST_CALLERS)[caller]
    notes = check(serve("Python", form), cases("Python", form), told, path)
    # The notes hold the errors of a forked child, and of a handler that used its own bus and dispatcher.
    assert notes
    for line in notes:
        assert all(name.endswith("Error") for name in line.split()), notes
    assert any("BusClosedError" in line for line in notes) == (form != "workers"), notes


@pytest.mark.parametrize("form", RUST_FORMS)
@pytest.mark.parametrize("caller", PYTHON_CALLERS)
def test_a_rust_callee(serve: Callable[[str, str], Callee], path: str, form: str, caller: str) -> None:
    notes = check(serve("Rust", form), cases("Rust", form), PYTHON_CALLERS[caller], path)
    assert notes == {"callee": ["Forked Some(Forked)"], "server": ["Forked None"]}.get(form, [])


@pytest.mark.parametrize("form", PYTHON_FORMS)
@pytest.mark.parametrize(
    ("mishap", "noted"), [("16", ["Odd"]), ("17", []), ("18", ["KeyboardInterrupt"])], ids=["odd", "exit", "interrupt"]
)
def test_a_handler_that_ends_the_serving(
    serve: Callable[[str, str], Callee], path: str, form: str, mishap: str, noted: list[str]
) -> None:
    """The caller gets its reply first, and then the orderly end of the serving."""
    callee = serve("Python", form)
    (line,) = by_bus(path, [mishap])
    assert line in ("HandlerFailed Closed", "HandlerFailed Stopping")
    callee.ends_well()
    assert callee.notes() == noted


@pytest.mark.parametrize("form", ["async", "async_bus"])
def test_a_coroutine_that_ends_the_serving(serve: Callable[[str, str], Callee], path: str, form: str) -> None:
    callee = serve("Python", form)
    (line,) = by_bus(path, ["35"])
    assert line in ("HandlerFailed Closed", "HandlerFailed Stopping")
    callee.ends_well()


@pytest.mark.parametrize("form", PYTHON_FORMS)
def test_a_handler_that_closes(serve: Callable[[str, str], Callee], path: str, form: str) -> None:
    callee = serve("Python", form)
    (line,) = by_bus(path, ["19"])
    if form.endswith("bus"):
        assert line == "Closed Closed"
    else:
        assert line in ("closed Closed", "closed Stopping")
    callee.ends_well()
    assert callee.notes() == (["BusClosedError"] if form.endswith("bus") else [])


BOTH = [("Python", form) for form in PYTHON_FORMS] + [("Rust", form) for form in RUST_FORMS]
COUNT = 10_000


def pipeline_by_bus(path: str) -> None:
    with RpcBus.connect(path) as bus:
        cids = [bus.call(number.to_bytes(8, "little") * 6, 1) for number in range(COUNT)]
        for number, cid in enumerate(cids):
            with bus.wait(cid, timeout=AT_ONCE) as rx:
                assert bytes(rx) == number.to_bytes(8, "little") * 6


def pipeline_by_acall(path: str, count: int) -> None:
    async def calls() -> None:
        with RpcBus.connect(path) as bus:
            requests = [number.to_bytes(8, "little") * 6 for number in range(count)]
            assert await asyncio.gather(*(endpoint(1).acall(bus, request) for request in requests)) == requests

    asyncio.run(calls())


@pytest.mark.parametrize(("language", "form"), BOTH)
def test_ten_thousand_calls_before_the_first_wait(
    serve: Callable[[str, str], Callee], path: str, language: str, form: str
) -> None:
    """Through rings of 4 KiB, which hold 64 messages."""
    serve(language, form)
    pipeline_by_bus(path)


@pytest.mark.parametrize(("language", "form"), [("Python", "bus"), ("Rust", "server")])
def test_coroutines_that_all_call_at_once(
    serve: Callable[[str, str], Callee], path: str, language: str, form: str
) -> None:
    serve(language, form)
    # Under `-X dev` the loop records where each task was made, which takes milliseconds.
    pipeline_by_acall(path, 1000 if sys.flags.dev_mode else COUNT)


@pytest.mark.parametrize("form", PYTHON_FORMS)
def test_rust_pipelines_into_python(serve: Callable[[str, str], Callee], path: str, form: str) -> None:
    serve("Python", form)
    command = [program("mishaps"), "pipeline", path, str(COUNT)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert told.stdout == f"{COUNT} answered, 0 outstanding\n"


@pytest.mark.parametrize(("language", "form"), BOTH)
def test_a_thousand_timeouts(serve: Callable[[str, str], Callee], path: str, language: str, form: str) -> None:
    """Timeouts with and without a deadline that travels; then every call gets its own reply."""
    serve(language, form)
    sleeps, echo = endpoint(6), endpoint(1)
    millisecond = (1).to_bytes(8, "little")
    with RpcBus.connect(path) as bus:
        timed_out = 0
        for number in range(1000):
            # A caller that the system delays for a millisecond finds the reply there.
            try:
                if number % 2:
                    sleeps.call(bus, millisecond, timeout=0.0001)
                else:
                    bus.wait(bus.call(millisecond, 6), timeout=0.0001).__exit__(None, None, None)
            except tachyon.TimedOutError:
                timed_out += 1
        assert timed_out > 900
        for number in range(1000):
            payload = number.to_bytes(8, "little")
            assert echo.call(bus, payload, timeout=AT_ONCE) == payload


@pytest.mark.parametrize("caller", ["pool", "acall"])
def test_a_thousand_timeouts_by_other_callers(serve: Callable[[str, str], Callee], path: str, caller: str) -> None:
    serve("Python", "server")
    sleeps, echo = endpoint(6), endpoint(1)
    millisecond = (1).to_bytes(8, "little")
    with ExitStack() as stack:
        if caller == "pool":
            pool = stack.enter_context(Pool(path, 2))

            def call(endpoint: tachyon.RpcEndpoint, payload: bytes, timeout: float) -> bytes:
                return pool.call(endpoint, payload, timeout=timeout)
        else:
            runner, bus = stack.enter_context(asyncio.Runner()), stack.enter_context(RpcBus.connect(path))

            def call(endpoint: tachyon.RpcEndpoint, payload: bytes, timeout: float) -> bytes:
                return runner.run(endpoint.acall(bus, payload, timeout=timeout))

        timed_out = 0
        for _ in range(1000):
            # A caller that the system delays for a millisecond finds the reply there.
            try:
                call(sleeps, millisecond, 0.0001)
            except TimeoutError:
                timed_out += 1
        assert timed_out > 900
        for number in range(1000):
            payload = number.to_bytes(8, "little")
            assert call(echo, payload, AT_ONCE) == payload


def test_rust_times_out_on_python(serve: Callable[[str, str], Callee], path: str) -> None:
    serve("Python", "bus")
    command = [program("mishaps"), "timeouts", path, "1000"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert told.stdout == "1000 timed out, 1000 answered, 0 outstanding\n"
