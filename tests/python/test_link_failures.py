"""Each side of a link is told that a process, or the network between the machines, has failed.

The table of `docs/guide/link.md` has a row for each of these tests.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tachyon
from linked import LIMIT, certificates, relay, wait_until
from proc import descriptors
from services import counted_api as counted
from tachyon import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Peer
    from linked import Link

SILENCE = 3.0
"""Seconds after which an end gives the other one up by default."""

PATIENCE = 20.0
"""Seconds within which a black hole is reported on a busy machine."""

BEGUN = ("begun awaiting", "begun blocking")


class Callee:
    """The callee `counted`, and the notes that it leaves."""

    def __init__(self, service: Callable[..., Peer], link: Link) -> None:
        self._service, self._link = service, link
        self._notes = link.folder / "notes"
        self.start()

    def start(self) -> None:
        options = {"at": self._link.back, "quiet": True, "stop_on": [signal.SIGTERM]}
        self.peer = self._service("counted", "loop", str(self._notes), **options)

    def notes(self) -> list[str]:
        """Return the notes, sorted."""
        return sorted(self._notes.read_text().splitlines()) if self._notes.exists() else []

    def wait_for(self, *notes: str) -> float:
        """Wait until these are all notes; return the seconds."""
        return wait_until(lambda: self.notes() == sorted(notes), lambda: f"{self.notes()}\n{self._link.account()}")

    def let_go(self) -> None:
        """End the held calls, now and later."""
        Path(f"{self._notes}.go").touch()


@pytest.fixture
def callee(service: Callable[..., Peer], link: Link) -> Callee:
    return Callee(service, link)


class InFlight:
    """Two held calls, of a blocking caller and of an event loop, and a stream."""

    def __init__(self, link: Link, callee: Callee) -> None:
        self._path = link.front
        # A caller that has compared its contract, and has no call in flight.
        self.bus = tachyon.RpcBus.connect(link.front)
        assert counted.echo.call(self.bus, b"") == b""
        self.first_item = threading.Event()
        self._pool = ThreadPoolExecutor(3)
        self.outcomes = [self._pool.submit(each) for each in (self._block, self._await, self._stream)]
        wait_until(lambda: self._have_begun(callee), lambda: f"{callee.notes()} {self.outcomes}")

    def _have_begun(self, callee: Callee) -> bool:
        ended = [each.result() for each in self.outcomes if each.done()]
        assert not ended, ended
        return self.first_item.is_set() and callee.notes() == sorted(BEGUN)

    def _block(self) -> object:
        with tachyon.RpcBus.connect(self._path) as bus:
            return self._end(lambda: counted.hold.call(bus, "blocking"))

    def _await(self) -> object:
        async def call() -> str:
            async with tachyon.RpcBus.aconnect(self._path) as bus:
                return await counted.hold.acall(bus, "awaiting")

        return self._end(lambda: asyncio.run(call()))

    def _stream(self) -> object:
        def read() -> str:
            with tachyon.RpcBus.connect(self._path) as bus, counted.items.stream(bus, "stream", 1, 0) as stream:
                for _ in stream:
                    self.first_item.set()
            return "stream"

        return self._end(read)

    @staticmethod
    def _end(work: Callable[[], str]) -> tuple[Any, float]:
        try:
            outcome: Any = work()
        except errors.TachyonError as error:
            outcome = error
        return outcome, time.monotonic()

    def join(self, since: float) -> tuple[list[Any], float]:
        """Return the outcomes, and the seconds until the last one."""
        ended = [each.result(LIMIT) for each in self.outcomes]
        self._pool.shutdown()
        return [outcome for outcome, _ in ended], max(at for _, at in ended) - since

    def are_lost(self, since: float, kind: errors.ErrorKind = errors.ErrorKind.UNAVAILABLE) -> float:
        """Check that each may have run, and so is not safe to repeat; return the seconds until the last one knew."""
        outcomes, seconds = self.join(since)
        for outcome in outcomes:
            assert isinstance(outcome, errors.UnavailableError), outcome
            assert isinstance(outcome, ConnectionError)
            assert (outcome.kind, outcome.safe_to_retry) == (kind, False), outcome
        return seconds


CANCELLED = (*BEGUN, "cancelled awaiting", "cancelled blocking", "cancelled stream")
ENDED = (*BEGUN, "ended awaiting", "ended blocking", "ended stream")


@pytest.fixture
def took(record_property: Callable[[str, object], None]) -> Callable[[str, float], None]:
    """Return a function that records seconds for the table of the guide."""
    return record_property


def next_call(link: Link, token: str = "next") -> Any:
    """Make one call over a connection of its own; return its outcome."""
    with tachyon.RpcBus.connect(link.front) as bus:
        return outcome_of(bus, token)


def outcome_of(bus: tachyon.RpcBus, token: str, endpoint: Any = counted.run) -> Any:
    try:
        return endpoint.call(bus, token, timeout=LIMIT)
    except errors.TachyonError as error:
        return error


def was_not_sent(outcome: Any) -> bool:
    return isinstance(outcome, errors.UnreachableError) and outcome.safe_to_retry


def wait_for_a_call(link: Link, bus: tachyon.RpcBus) -> float:
    """Repeat a call until the link has healed: no outcome but `Unreachable` comes before."""

    def healed() -> bool:
        outcome = outcome_of(bus, "healed")
        assert outcome == "healed" or was_not_sent(outcome), outcome
        return bool(outcome == "healed")

    return wait_until(healed, link.account)


def test_the_far_end_is_killed(link: Link, callee: Callee, took: Callable[[str, float], None]) -> None:
    _, far = link.start()
    calls = InFlight(link, callee)
    since = time.monotonic()
    far.kill()
    took("told", calls.are_lost(since))
    callee.wait_for(*CANCELLED)
    took("callee", time.monotonic() - since)
    # The connection to the near end goes on.
    outcome = outcome_of(calls.bus, "next")
    assert was_not_sent(outcome), outcome
    assert isinstance(outcome, ConnectionError)
    since = time.monotonic()
    link.far(at=link.address)
    wait_for_a_call(link, calls.bus)
    took("healed", time.monotonic() - since)
    callee.wait_for(*CANCELLED, "run healed")
    calls.bus.close()


def test_the_near_end_is_killed(link: Link, callee: Callee, took: Callable[[str, float], None]) -> None:
    near, _ = link.start()
    calls = InFlight(link, callee)
    with tachyon.RpcBus.connect(link.front, reconnect=True) as again:
        since = time.monotonic()
        near.kill()
        outcomes, seconds = calls.join(since)
        took("told", seconds)
        for outcome in outcomes:
            assert isinstance(outcome, errors.PeerDeadError), outcome
            assert not outcome.safe_to_retry
        callee.wait_for(*CANCELLED)
        took("callee", time.monotonic() - since)
        assert isinstance(outcome_of(calls.bus, "next"), errors.PeerDeadError)
        with pytest.raises(errors.NoListenerError):
            tachyon.RpcBus.connect(link.front, timeout=0.1)
        since = time.monotonic()
        link.near()
        wait_for_a_call(link, again)
        took("healed", time.monotonic() - since)
    callee.wait_for(*CANCELLED, "run healed")
    calls.bus.close()


def test_the_callee_is_killed(link: Link, callee: Callee, took: Callable[[str, float], None]) -> None:
    link.start()
    calls = InFlight(link, callee)
    since = time.monotonic()
    callee.peer.kill()
    took("told", calls.are_lost(since))
    since = time.monotonic()
    outcome = outcome_of(calls.bus, "next")
    assert was_not_sent(outcome), outcome
    took("next", time.monotonic() - since)
    # The same endpoints: no connection ends.
    callee.start()
    took("healed", wait_for_a_call(link, calls.bus))
    callee.wait_for(*BEGUN, "run healed")
    calls.bus.close()


def test_a_caller_is_killed(
    link: Link, callee: Callee, peer: Callable[..., Peer], took: Callable[[str, float], None]
) -> None:
    link.start()
    caller = peer(
        """
        from services import counted_api as counted
        with tachyon.RpcBus.connect(path) as bus:
            with counted.items.stream(bus, "stream", 1, 0) as stream:
                next(stream)
                counted.hold.call(bus, "killed")
        """,
        at=link.front,
    )
    callee.wait_for("begun killed")
    with tachyon.RpcBus.connect(link.front) as other:
        since = time.monotonic()
        caller.kill()
        callee.wait_for("begun killed", "cancelled killed", "cancelled stream")
        took("callee", time.monotonic() - since)
        assert outcome_of(other, "other") == "other"


def test_the_callee_stops(link: Link, callee: Callee) -> None:
    """A callee that stops ends its calls first, if it lets them."""
    link.start()
    calls = InFlight(link, callee)
    callee.let_go()
    outcomes, _ = calls.join(0)
    assert outcomes == ["blocking", "awaiting", "stream"]
    callee.peer.process.send_signal(signal.SIGTERM)
    callee.peer.join()
    outcome = outcome_of(calls.bus, "next")
    assert was_not_sent(outcome), outcome
    callee.start()
    wait_for_a_call(link, calls.bus)
    callee.wait_for(*ENDED, "run healed")
    calls.bus.close()


def test_a_callee_with_other_endpoints(link: Link, callee: Callee, service: Callable[..., Peer]) -> None:
    """The callers' connections end, as with a local callee that restarts, and they compare their contract again."""
    link.start()
    callee.let_go()
    with tachyon.RpcBus.connect(link.front) as bus, tachyon.RpcBus.connect(link.front, reconnect=True) as again:
        assert outcome_of(bus, "first") == "first"
        assert outcome_of(again, "second", counted.hold) == "second"
        callee.peer.kill()
        service("market", "server", at=link.back)

        def has_ended() -> bool:
            outcome = outcome_of(bus, "next")
            assert was_not_sent(outcome) or isinstance(outcome, errors.PeerClosedError), outcome
            assert outcome.safe_to_retry
            return isinstance(outcome, errors.PeerClosedError)

        wait_until(has_ended, link.account)

        def is_refused() -> bool:
            outcome = outcome_of(again, "next", counted.hold)
            assert was_not_sent(outcome) or isinstance(outcome, errors.LayoutMismatchError), outcome
            return isinstance(outcome, errors.LayoutMismatchError)

        wait_until(is_refused, link.account)
    callee.wait_for("run first", "begun second", "ended second")


@pytest.mark.parametrize("which", ["near", "far"])
def test_an_end_stops(link: Link, callee: Callee, which: str) -> None:
    """Calls in flight end first; the exit status is 0, which `stop` checks."""
    near, far = link.start()
    calls = InFlight(link, callee)
    end = near if which == "near" else far
    other = tachyon.RpcBus.connect(link.front)
    end.terminate()
    time.sleep(0.5)
    assert end.process.poll() is None
    assert not any(outcome.done() for outcome in calls.outcomes)
    if which == "far":
        outcome = next_call(link)
        assert was_not_sent(outcome), outcome
    else:
        outcome = outcome_of(other, "next")
        assert isinstance(outcome, errors.RpcError), outcome
        assert (outcome.kind, outcome.safe_to_retry) == (errors.ErrorKind.STOPPING, True)
    other.close()
    callee.let_go()
    outcomes, _ = calls.join(0)
    assert outcomes == ["blocking", "awaiting", "stream"]
    end.ends()
    callee.wait_for(*ENDED)
    if which == "near":
        assert not Path(link.front).exists()
        assert isinstance(outcome_of(calls.bus, "next"), errors.PeerClosedError)
        far.stop()
    else:
        assert was_not_sent(outcome_of(calls.bus, "next"))
        near.stop()
    calls.bus.close()


@pytest.mark.parametrize("which", ["near", "far"])
def test_calls_that_outlast_the_stop_of_an_end(link: Link, callee: Callee, which: str) -> None:
    """Calls that go on for too long, and a stream that its caller leaves unread, keep no end from its stop."""
    far = link.far("--stop-timeout=0.5")
    near = link.near("--stop-timeout=0.5")
    link.wait()
    calls = InFlight(link, callee)
    with tachyon.RpcBus.connect(link.front) as bus, counted.items.stream(bus, "unread", 1000, 30_000) as stream:
        next(stream)
        since = time.monotonic()
        end = near if which == "near" else far
        end.stop()
        assert time.monotonic() - since < PATIENCE
        outcomes, _ = calls.join(since)
        kind = errors.ErrorKind.CANCELLED if which == "near" else errors.ErrorKind.UNAVAILABLE
        assert [(outcome.kind, outcome.safe_to_retry) for outcome in outcomes] == [(kind, False)] * 3
        callee.wait_for(*CANCELLED, "cancelled unread")
    calls.bus.close()


@pytest.mark.parametrize("killed", ["near", "far", "callee"])
def test_no_call_runs_twice(link: Link, callee: Callee, killed: str) -> None:
    """Four callers call all the time, while a process is killed five times. Each call knows whether it may have run."""
    near, far = link.start()
    fate: dict[str, str] = {}
    done = threading.Event()

    def call_on(number: int) -> None:
        with tachyon.RpcBus.connect(link.front, reconnect=True) as bus:
            for count in itertools.count():
                token = f"{number}.{count}"
                outcome = outcome_of(bus, token)
                if outcome == token:
                    fate[token] = "ran"
                    if done.is_set():
                        return
                else:
                    assert isinstance(outcome, ConnectionError), outcome
                    fate[token] = "did not run" if outcome.safe_to_retry else "may have run"
                    time.sleep(0.01)

    with ThreadPoolExecutor(4) as pool:
        calling = [pool.submit(call_on, number) for number in range(4)]
        try:
            for _ in range(5):
                before = len(callee.notes())
                wait_until(lambda before=before: len(callee.notes()) > before + 50, link.account)
                if killed == "near":
                    near.kill()
                    near = link.near()
                elif killed == "far":
                    far.kill()
                    far = link.far(at=link.address)
                else:
                    callee.peer.kill()
                    callee.start()
        finally:
            done.set()
        for each in calling:
            each.result(LIMIT)
    runs = Counter(note.removeprefix("run ") for note in callee.notes())
    assert set(runs.values()) == {1}
    assert {token for token, known in fate.items() if known == "ran"} <= runs.keys()
    assert not [token for token, known in fate.items() if known == "did not run" and token in runs]
    assert runs.keys() <= fate.keys()


@contextmanager
def a_relay(link: Link) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """A relay between the ends that stops forwarding, and heals."""
    link.silence = SILENCE
    link.far()
    with relay(link.address) as between:
        near = link.near(at=between.address)
        link.wait()
        yield between.go_silent, between.heal
        # The threads of the relay end with its connections.
        between.heal()
        near.stop()


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=LIMIT)


@contextmanager
def a_network(link: Link) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Two network namespaces, with a cable between them that can be pulled."""
    a, b = f"tachyon-{os.getpid()}-a", f"tachyon-{os.getpid()}-b"
    with ExitStack() as stack:
        try:
            for name in (a, b):
                ip("netns", "add", name)
                stack.callback(ip, "netns", "delete", name)
            ip("-n", a, "link", "add", "near0", "type", "veth", "peer", "name", "far0", "netns", b)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here: {error}")
        for name, device, address in ((a, "near0", "10.77.0.1/24"), (b, "far0", "10.77.0.2/24")):
            ip("-n", name, "address", "add", address, "dev", device)
            ip("-n", name, "link", "set", device, "up")
        link.silence = SILENCE
        link.far(at="10.77.0.2:7410", through=["ip", "netns", "exec", b])
        link.near(through=["ip", "netns", "exec", a])
        link.wait()
        # The end of the namespace's cable: the near end's side stays up, so its packets go nowhere.
        yield lambda: ip("-n", b, "link", "set", "far0", "down"), lambda: ip("-n", b, "link", "set", "far0", "up")


@pytest.mark.parametrize("between", [a_relay, a_network])
def test_a_black_hole(
    link: Link, callee: Callee, between: Callable[[Link], Any], took: Callable[[str, float], None]
) -> None:
    with between(link) as (break_off, heal):
        calls = InFlight(link, callee)
        since = time.monotonic()
        break_off()
        seconds = calls.are_lost(since)
        took("told", seconds)
        assert seconds < PATIENCE
        outcome = outcome_of(calls.bus, "next")
        assert was_not_sent(outcome), outcome
        callee.wait_for(*CANCELLED)
        seconds = time.monotonic() - since
        took("callee", seconds)
        assert seconds < PATIENCE
        since = time.monotonic()
        heal()
        wait_for_a_call(link, calls.bus)
        took("healed", time.monotonic() - since)
        callee.wait_for(*CANCELLED, "run healed")
        calls.bus.close()


def test_the_far_end_hangs(link: Link, callee: Callee, took: Callable[[str, float], None]) -> None:
    """A process that stands still is a black hole, too."""
    link.silence = SILENCE
    _, far = link.start()
    calls = InFlight(link, callee)
    since = time.monotonic()
    far.process.send_signal(signal.SIGSTOP)
    seconds = calls.are_lost(since)
    took("told", seconds)
    assert seconds < PATIENCE
    outcome = outcome_of(calls.bus, "next")
    assert was_not_sent(outcome), outcome
    far.process.send_signal(signal.SIGCONT)
    wait_for_a_call(link, calls.bus)
    callee.wait_for(*CANCELLED, "run healed")
    calls.bus.close()


def test_the_near_end_hangs(link: Link, callee: Callee, took: Callable[[str, float], None]) -> None:
    """Callers are told nothing, as with a local callee that hangs: their calls have a deadline."""
    link.silence = SILENCE
    near, _ = link.start()
    calls = InFlight(link, callee)
    since = time.monotonic()
    near.process.send_signal(signal.SIGSTOP)
    with pytest.raises(errors.TimedOutError) as late:
        counted.echo.call(calls.bus, b"late", timeout=0.2)
    assert not late.value.safe_to_retry
    callee.wait_for(*CANCELLED)
    seconds = time.monotonic() - since
    took("callee", seconds)
    assert seconds < PATIENCE
    near.process.send_signal(signal.SIGCONT)
    calls.are_lost(since)
    wait_for_a_call(link, calls.bus)
    callee.wait_for(*CANCELLED, "run healed")
    calls.bus.close()


def test_a_deadline_in_a_black_hole(link: Link, callee: Callee) -> None:
    """The deadline of a call ends it, before the link knows more."""
    with a_relay(link) as (break_off, heal), tachyon.RpcBus.connect(link.front) as bus:
        assert outcome_of(bus, "first") == "first"
        break_off()
        with pytest.raises(errors.TimedOutError) as late:
            counted.run.call(bus, "late", timeout=0.2)
        assert not late.value.safe_to_retry
        heal()
        wait_for_a_call(link, bus)
    # The cancelled call may have run.
    assert Counter(callee.notes()) - Counter(["run late"]) == Counter(["run first", "run healed"])


def test_many_calls_without_a_callee(link: Link, callee: Callee) -> None:
    """Calls that wait together for the callee are told together."""
    link.start()
    callee.peer.kill()

    def call(_: int) -> float:
        started = time.monotonic()
        outcome = next_call(link)
        assert was_not_sent(outcome), outcome
        return time.monotonic() - started

    with ThreadPoolExecutor(30) as pool:
        assert max(pool.map(call, range(30))) < PATIENCE
    callee.start()
    with tachyon.RpcBus.connect(link.front) as bus:
        wait_for_a_call(link, bus)
    callee.wait_for("run healed")


def test_calls_that_are_given_up_make_room(link: Link, callee: Callee, peer: Callable[..., Peer]) -> None:
    """A link that is full of calls takes their cancellation, and then other calls."""
    link.far("--in-flight=4")
    link.near()
    link.wait()
    caller = peer(
        """
        import asyncio
        from services import counted_api as counted

        async def call():
            async with tachyon.RpcBus.aconnect(path) as bus:
                await asyncio.gather(*(counted.hold.acall(bus, str(number)) for number in range(12)))

        asyncio.run(call())
        """,
        at=link.front,
    )
    wait_until(lambda: len(callee.notes()) == 4, lambda: f"{callee.notes()} {caller.process.poll()}\n{link.account()}")
    with tachyon.RpcBus.connect(link.front) as bus, ThreadPoolExecutor(1) as pool:
        later = pool.submit(outcome_of, bus, "later")
        time.sleep(0.2)
        assert not later.done()
        caller.kill()
        assert later.result(LIMIT) == "later"
    wait_until(lambda: Counter(note.split()[0] for note in callee.notes())["cancelled"] >= 4)
    assert "run later" in callee.notes()


def test_unread_streams_keep_no_call_waiting(link: Link, callee: Callee) -> None:
    """Twenty streams whose readers have stopped, each with megabytes to come."""
    link.start()
    with ExitStack() as stack:
        for number in range(20):
            bus = stack.enter_context(tachyon.RpcBus.connect(link.front))
            stream = stack.enter_context(counted.items.stream(bus, f"unread {number}", 10_000, 30_000))
            assert next(stream)[:4] == bytes(4)
        with tachyon.RpcBus.connect(link.front) as bus:
            # A window that is full keeps the call waiting for ever, and the time limit ends it.
            for number in range(100):
                assert counted.echo.call(bus, bytes([number]) * 20_000, timeout=PATIENCE) == bytes([number]) * 20_000
            with counted.items.stream(bus, "read", 200, 30_000) as read:
                for number in range(200):
                    assert next(read)[:4] == number.to_bytes(4, "little")
    callee.wait_for(*(f"cancelled unread {number}" for number in range(20)), "cancelled read")


def reason(link: Link, *words: str) -> errors.UnreachableError:
    """Wait until calls are told a reason that has these words."""
    last: list[Any] = [None]

    def told() -> bool:
        last[0] = next_call(link)
        assert was_not_sent(last[0]), last[0]
        return all(word in str(last[0]) for word in words)

    wait_until(told, lambda: f"{words}: {last[0]}\n{link.account()}")
    found: errors.UnreachableError = last[0]
    return found


def test_no_far_end(link: Link) -> None:
    link.near(at="127.0.0.1:1")
    reason(link, "127.0.0.1:1", "refused")


def test_certificates_of_another_authority(link: Link, callee: Callee, tmp_path: Path) -> None:
    link.far()
    own, link.files = link.files, certificates(tmp_path, "host-a", "host-b")
    near = link.near()
    reason(link, "authority")
    near.stop()
    # The near end trusts the far end, which does not trust the near end.
    shutil.copy(own / "authority.pem", tmp_path)
    near = link.near()
    reason(link, link.address)
    near.stop()
    link.files = own
    link.near()
    link.wait()
    assert next_call(link) == "next"
    callee.wait_for("run next")


def test_the_wrong_server_name(link: Link, callee: Callee) -> None:
    link.far()
    link.near(name="host-c")
    reason(link, "host-c")
    callee.wait_for()


@pytest.mark.parametrize("far_has_tls", [True, False])
def test_tls_at_one_end_alone(link: Link, callee: Callee, far_has_tls: bool) -> None:
    link.far(tls=far_has_tls)
    link.near(tls=not far_has_tls)
    reason(link, link.address)
    callee.wait_for()


def test_an_endpoint_that_is_not_on_the_list(link: Link, callee: Callee) -> None:
    file = link.folder / "link.toml"
    file.write_text('[[peer]]\nname = "host-a"\nendpoints = [1, 2]\n')
    link.far("--config", file)
    link.near()
    wait_until(lambda: not was_not_sent(next_call(link)), link.account)
    outcome = next_call(link)
    assert isinstance(outcome, errors.PermissionDeniedError), outcome
    assert "host-a" in str(outcome)
    with tachyon.RpcBus.connect(link.front) as bus:
        assert counted.echo.call(bus, b"allowed") == b"allowed"
    callee.wait_for()


def test_messages_that_are_too_long(link: Link, callee: Callee) -> None:
    link.far("--max-message=20000")
    link.near()
    link.wait()
    with tachyon.RpcBus.connect(link.front) as bus:
        with pytest.raises(errors.RpcError, match="raise `max_message` at both ends") as refused:
            counted.echo.call(bus, bytes(20_000))
        assert (refused.value.kind, refused.value.safe_to_retry) == (errors.ErrorKind.BAD_REQUEST, True)
        # The size of an item is known after the call has begun.
        with pytest.raises(errors.RpcError, match="raise `max_message` at both ends") as lost:
            list(counted.items.stream(bus, "long", 1, 20_000))
        assert (lost.value.kind, lost.value.safe_to_retry) == (errors.ErrorKind.REPLY_TOO_LARGE, False)
        assert counted.echo.call(bus, bytes(11_000)) == bytes(11_000)
    callee.wait_for("cancelled long")


def resident(pid: int) -> int:
    """Return the resident bytes of a process that its code and files do not have."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_a_thousand_callers_leave_nothing_behind(link: Link, callee: Callee) -> None:
    ends = link.start()
    pids = [end.process.pid for end in ends]

    def come_and_go(number: int) -> None:
        with tachyon.RpcBus.connect(link.front) as bus:
            assert counted.echo.call(bus, b"x") == b"x"
            if number % 4 == 0:
                with counted.items.stream(bus, "given up", 100, 1000) as stream:
                    next(stream)

    for number in range(200):
        come_and_go(number)
    before = [(descriptors(pid), resident(pid), threads(pid)) for pid in pids]
    for number in range(1000):
        come_and_go(number)
    for pid, (files, memory, tasks) in zip(pids, before, strict=True):
        wait_until(lambda pid=pid, files=files: descriptors(pid) <= files + 2, lambda pid=pid: f"{descriptors(pid)}")
        assert threads(pid) <= tasks + 2
        assert resident(pid) < memory + (4 << 20)
    assert set(callee.notes()) == {"cancelled given up"}


def test_a_hundred_near_ends_leave_nothing_behind(link: Link, callee: Callee) -> None:
    """Connections of near ends that come, and close in order or are cut off."""
    near, far = link.start()
    pid = far.process.pid
    near.stop()

    def come_and_go(number: int) -> None:
        end = link.near()
        link.wait()
        if number % 2:
            end.stop()
        else:
            end.kill()

    for number in range(20):
        come_and_go(number)
    files, memory, tasks = descriptors(pid), resident(pid), threads(pid)
    for number in range(100):
        come_and_go(number)
    wait_until(lambda: descriptors(pid) <= files + 2, lambda: f"{descriptors(pid)}, before {files}")
    assert threads(pid) <= tasks + 2
    assert resident(pid) < memory + (4 << 20)
    callee.wait_for()
