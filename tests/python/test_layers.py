"""Layers in Python, of dispatchers and of callers."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import tachyon
from tachyon import ErrorKind, Pool, RpcBus, RpcDispatcher, RpcError, layers, tachyon_rpc
from tachyon.layers import CallFailed, CallOutcome, GivenUp, OutgoingCall, Replied

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 60.0


@tachyon_rpc(msg_type=1)
def metadata(key: str) -> str | None:
    raise NotImplementedError


@tachyon_rpc(msg_type=2)
def entries(payload: memoryview) -> bytes:
    raise NotImplementedError


@tachyon_rpc(msg_type=4)
def raises(text: str) -> None:
    raise NotImplementedError


def log_of(bus: RpcBus) -> list[Any]:
    """Return the entries of the service's layers so far."""
    with bus.finish(bus.start(b"", 9), timeout=LIMIT) as reply:
        found: list[Any] = json.loads(bytes(reply))
    return found


ORDERS = [
    ("server", {}),
    ("server", {"workers": 2}),
    ("bus", {}),
    ("loop", {}),
    ("loop", {"coroutines": True}),
    ("bus_loop", {"coroutines": True}),
]


@pytest.mark.parametrize(("way", "options"), ORDERS)
def test_layers_see_every_request_in_order(
    service: Callable[..., Any], path: str, way: str, options: dict[str, Any]
) -> None:
    service("layered", way, layers=["outer", "inner"], quiet=True, **options)
    with RpcBus.connect(path) as bus:
        assert metadata.call(bus.metadata("a", "1"), "a") == "1"
        with pytest.raises(RpcError):
            raises.call(bus, "why")
        with pytest.raises(tachyon.NoHandlerError):
            tachyon_rpc(7)(lambda payload: payload).call(bus, b"12345")
        failed = "Failed(kind=<ErrorKind.HANDLER_FAILED: 2>)"
        missing = "Failed(kind=<ErrorKind.NO_HANDLER: 1>)"
        expected = []
        for msg_type, name, size, given, outcome in (
            (1, "metadata", 1, {"a": "1"}, "Replied(size=24)"),
            (4, "raises", 3, {}, failed),
            (7, "", 5, {}, missing),
        ):
            expected += [[layer, "before", msg_type, name, size, given] for layer in ("outer", "inner")]
            expected += [[layer, "after", msg_type, outcome] for layer in ("inner", "outer")]
        assert log_of(bus) == expected


@pytest.mark.parametrize(("way", "options"), ORDERS)
def test_a_layer_refuses(service: Callable[..., Any], path: str, way: str, options: dict[str, Any]) -> None:
    service("layered", way, layers=["outer", "token", "inner"], **options)
    with RpcBus.connect(path) as bus:
        with pytest.raises(tachyon.errors.UnauthenticatedError, match="the token is None") as raised:
            metadata.call(bus, "a")
        assert raised.value.kind is ErrorKind.UNAUTHENTICATED
        assert metadata.call(bus.metadata("token", "open"), "token") == "open"
        seen = [(entry[:3], entry[-1]) for entry in log_of(bus)]
        assert seen[:2] == [
            (["outer", "before", 1], {}),
            (["outer", "after", 1], "Failed(kind=<ErrorKind.UNAUTHENTICATED: 17>)"),
        ]
        assert [entry for entry, _ in seen[2:]] == [
            ["outer", "before", 1],
            ["inner", "before", 1],
            ["inner", "after", 1],
            ["outer", "after", 1],
        ]


@pytest.mark.parametrize("way", ["server", "bus", "loop"])
@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("raises", "ZeroDivisionError: raises"),
        ("returns", "TypeError: Fails.before returns nothing; it raises an exception to refuse a call"),
    ],
)
def test_a_layer_that_fails_refuses(service: Callable[..., Any], path: str, way: str, how: str, text: str) -> None:
    serving = service("layered", way, layers=["outer", how], log="ERROR")
    with RpcBus.connect(path) as bus:
        with pytest.raises(RpcError, match=text) as raised:
            metadata.call(bus, "a")
        assert raised.value.kind is ErrorKind.HANDLER_FAILED
        assert [entry[1] for entry in log_of(bus)] == ["before", "after"]
        assert serving.line() == f"tachyon ERROR endpoint `metadata` (msg_type 1) failed: {text}"


def test_a_failure_after_the_answer_is_reported(service: Callable[..., Any], path: str) -> None:
    serving = service("layered", "server", layers=["outer", "after"], log="ERROR")
    with RpcBus.connect(path) as bus:
        assert metadata.call(bus, "a") is None
        assert serving.line() == "tachyon ERROR the layer Fails failed after a call"
        assert [entry[1] for entry in log_of(bus)] == ["before", "after"]


WAYS = [("server", {}), ("server", {"workers": 2}), ("bus", {}), ("loop", {}), ("loop", {"coroutines": True})]


@pytest.mark.parametrize(("way", "options"), WAYS)
def test_a_layer_that_exits_ends_the_serving(
    service: Callable[..., Any], path: str, way: str, options: dict[str, Any]
) -> None:
    serving = service("layered", way, layers=["exits"], **options)
    with RpcBus.connect(path) as bus, pytest.raises(RpcError, match="SystemExit: 7"):
        metadata.call(bus, "a")
    serving.process.wait(LIMIT)
    assert serving.process.returncode == 7


@pytest.mark.parametrize(("way", "options"), WAYS)
def test_a_layer_that_exits_after_the_answer_ends_the_serving(
    service: Callable[..., Any], path: str, way: str, options: dict[str, Any]
) -> None:
    serving = service("layered", way, layers=["exits after"], **options)
    with RpcBus.connect(path) as bus:
        assert metadata.call(bus, "a") is None
        serving.process.wait(LIMIT)
    assert serving.process.returncode == 7


class Seen:
    """Notes calls, adds metadata, and refuses some calls."""

    def __init__(self, name: str = "seen", refuse: type[BaseException] | None = None) -> None:
        self.name = name
        self.refuse = refuse
        self.calls: list[tuple[str, str, int, int]] = []
        self.outcomes: list[CallOutcome] = []

    def before(self, call: OutgoingCall, /) -> None:
        self.calls.append((self.name, call.name, call.msg_type, call.request_size))
        remaining = call.remaining
        call.add_metadata(self.name, "none" if remaining is None else "some" if 0 < remaining <= LIMIT else "much")
        if self.refuse is not None:
            raise self.refuse

    def after(self, call: OutgoingCall, outcome: CallOutcome, seconds: float, /) -> None:
        assert 0 <= seconds < LIMIT
        assert self.name in call.metadata
        self.outcomes.append(outcome)


def test_layers_of_a_bus_see_each_call(service: Callable[..., Any], path: str) -> None:
    service("layered", "server", quiet=True)
    seen = Seen()
    with RpcBus.connect(path) as bus:
        assert bus.layer(seen) is bus
        assert metadata.call(bus, "seen") == "none"
        assert metadata.call(bus.within(LIMIT), "seen") == "some"
        assert metadata.call(bus.metadata("a", "1"), "a") == "1"
        assert entries.call(bus.metadata("a", "1"), b"12345") == b"123452"
        with pytest.raises(RpcError, match="why"):
            raises.call(bus, "why")
        with bus.finish(bus.start(b"by number", 2), timeout=LIMIT) as reply:
            assert bytes(reply) == b"by number1"
        with pytest.raises(TypeError):
            metadata.call(bus, 3)
        assert bus.ping(timeout=LIMIT) > 0
        assert len(bus.describe(timeout=LIMIT)) == 6
    assert seen.calls == [
        ("seen", "metadata", 1, 4),
        ("seen", "metadata", 1, 4),
        ("seen", "metadata", 1, 1),
        ("seen", "entries", 2, 5),
        ("seen", "raises", 4, 3),
        ("seen", "", 2, 9),
    ]
    kinds = [outcome if isinstance(outcome, Replied) else repr(type(outcome.error)) for outcome in seen.outcomes]
    assert kinds == [
        Replied(24),
        Replied(24),
        Replied(24),
        Replied(6),
        repr(tachyon.HandlerError),
        Replied(10),
    ]


def test_outcomes_of_calls_by_number(service: Callable[..., Any], path: str) -> None:
    service("layered", "server", quiet=True)
    seen = Seen()
    with RpcBus.connect(path) as bus:
        bus.layer(seen)
        with bus.finish(bus.start(b"", 404), timeout=LIMIT) as reply:
            assert reply.error_kind is ErrorKind.NO_HANDLER
        bus.forget(bus.start(b"", 2))
        left = bus.start(b"", 2)
        assert len(seen.outcomes) == 2
    assert isinstance(seen.outcomes[0], CallFailed)
    assert isinstance(seen.outcomes[0].error, tachyon.NoHandlerError)
    assert seen.outcomes[1:] == [GivenUp()] * 2
    with pytest.raises(tachyon.BusClosedError):
        bus.finish(left)


def test_a_callee_that_never_answers(path: str, peer: Callable[..., Any]) -> None:
    callee = peer("""
        with tachyon.RpcBus.listen(path, 4096, 4096):
            sys.stdin.readline()
    """)
    seen = Seen()
    with RpcBus.connect(path) as bus:
        bus.layer(seen)
        with pytest.raises(tachyon.TimedOutError):
            entries.call(bus.within(0.05), b"")
        with pytest.raises(tachyon.TimedOutError):
            bus.finish(bus.start(b"", 2), timeout=0.05)
        number = bus.start(b"", 2)
        callee.kill()
        with pytest.raises(tachyon.PeerDeadError):
            bus.finish(number, timeout=LIMIT)
        with pytest.raises(tachyon.PeerDeadError):
            entries.call(bus, b"")
    errors = [type(outcome.error) for outcome in seen.outcomes if isinstance(outcome, CallFailed)]
    assert errors == [tachyon.TimedOutError] * 2 + [tachyon.PeerDeadError] * 2
    assert len(seen.outcomes) == 4


def test_a_layer_of_a_bus_refuses_and_nothing_is_sent(service: Callable[..., Any], path: str) -> None:
    service("layered", "server", layers=["outer"], quiet=True)
    first, refusing, last = Seen("first"), Seen("refusing", PermissionError), Seen("last")
    with RpcBus.connect(path) as bus, RpcBus.connect(path) as other:
        bus.layer(first).layer(refusing).layer(last)
        for call in (lambda: metadata.call(bus, "a"), lambda: bus.start(b"", 2)):
            with pytest.raises(PermissionError):
                call()
        assert log_of(other) == []
        assert [type(outcome) for outcome in first.outcomes] == [CallFailed] * 2
        assert refusing.outcomes == []
        assert last.calls == []


def test_a_request_in_place_passes_no_layer(service: Callable[..., Any], path: str) -> None:
    service("layered", "server", quiet=True)
    with RpcBus.connect(path) as bus:
        with bus.call_zero_copy(3, 2) as room:
            memoryview(room)[:] = b"abc"
            with pytest.raises(tachyon.errors.BusyError, match="a guard is still open"):
                bus.layer(Seen())
        with bus.finish(room.out_cid, timeout=LIMIT) as reply:
            assert bytes(reply) == b"abc0"
        bus.layer(Seen())
        with pytest.raises(tachyon.errors.InvalidArgumentError, match=r"passes no layer, .*; send it with `start`"):
            bus.call_zero_copy(16, 2)
        assert metadata.call(bus, "seen") == "none"


def test_layers_of_event_loops(service: Callable[..., Any], path: str) -> None:
    service("layered", "loop", coroutines=True, quiet=True)
    seen, refusing = Seen(), Seen("refusing", KeyError)

    async def act() -> None:
        with RpcBus.connect(path) as bus:
            bus.layer(seen)
            replies = await asyncio.gather(*(metadata.acall(bus.within(LIMIT), "seen") for _ in range(20)))
            assert replies == ["some"] * 20
            assert await entries.acall(bus.metadata("a", "1"), b"") == b"2"
            with pytest.raises(RpcError):
                await raises.acall(bus, "why")
            task = asyncio.create_task(metadata.acall(bus, "seen"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            bus.layer(refusing)
            with pytest.raises(KeyError):
                await metadata.acall(bus, "seen")

    asyncio.run(act())
    ends = [type(outcome) for outcome in seen.outcomes]
    assert ends == [Replied] * 21 + [CallFailed, GivenUp, CallFailed]
    assert refusing.outcomes == []


def test_layers_of_a_pool(service: Callable[..., Any], path: str) -> None:
    service("layered", "server", quiet=True)
    seen = Seen()
    own = Seen("own")

    async def awaits(pool: Pool) -> None:
        assert await pool.acall(metadata, "seen") == "none"
        assert await pool.metadata("a", "1").within(LIMIT).acall(metadata, "a") == "1"

    with Pool(path, 1) as pool:
        assert pool.call(metadata, "seen") is None
        assert pool.layer(seen) is pool
        assert pool.call(metadata, "seen") == "none"
        assert pool.metadata("a", "1").within(LIMIT).call(metadata, "a") == "1"
        asyncio.run(awaits(pool))
        with pool.caller() as bus:
            assert metadata.call(bus, "seen") == "none"
            bus.layer(own)
            assert metadata.call(bus, "own") == "none"
            bus.start(b"", 2)
        # The borrower's own layer goes with the borrower.
        assert pool.call(metadata, "own") is None
    assert len(seen.calls) == len(seen.outcomes) == 8
    assert own.outcomes == [Replied(24), GivenUp()]
    assert seen.outcomes[6] == GivenUp()


def test_a_client_of_a_service_passes_the_layers(service: Callable[..., Any], path: str) -> None:
    class Layered(tachyon.Service):
        @tachyon_rpc(msg_type=1)
        def metadata(self, key: str) -> str | None:
            raise NotImplementedError

    service("layered", "server", quiet=True)
    with RpcBus.connect(path) as bus:
        client = Layered.client(bus)
        bus.layer(Seen())
        assert client.metadata("seen") == "none"
        assert Layered.client(bus.metadata("a", "1")).metadata("a") == "1"


def test_layers_on_a_bus_that_reconnects(service: Callable[..., Any], path: str) -> None:
    first = service("layered", "server", quiet=True)
    seen = Seen()
    with RpcBus.connect(path, reconnect=True) as bus:
        bus.layer(seen)
        assert metadata.call(bus, "seen") == "none"
        first.kill()
        service("layered", "server", quiet=True)
        assert metadata.call(bus, "seen") == "none"
    assert [type(outcome) for outcome in seen.outcomes] == [Replied] * 2


class Later:
    async def before(self, call: object, /) -> None: ...


class Neither:
    before = 3


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Seen, "^Seen is a class; add an object of it: layer\\(Seen\\(\\)\\)$"),
        (3, "^a layer has a method `before`, `after` or both, and int has none$"),
        (Neither(), "and Neither has none$"),
        (Later(), "^Later has `async def` methods, and a layer is not awaited; write them as `def`$"),
    ],
)
def test_objects_that_are_no_layers(service: Callable[..., Any], path: str, layer: Any, text: str) -> None:
    service("layered", "bus")
    with RpcBus.connect(path) as bus, Pool(path) as pool:
        for target in (RpcDispatcher(), bus, pool):
            with pytest.raises(TypeError, match=text):
                target.layer(layer)
        assert metadata.call(bus, "a") is None


def test_a_layer_may_use_its_bus(service: Callable[..., Any], path: str) -> None:
    class Adds:
        def __init__(self, bus: RpcBus) -> None:
            self.bus = bus
            self.depth = 0

        def before(self, call: OutgoingCall, /) -> None:
            if self.depth == 0:
                self.depth += 1
                # The layer sees the inner call, too.
                call.add_metadata("a", str(metadata.call(self.bus.metadata("b", "2"), "b")))
                self.bus.layer(Seen("added"))

    service("layered", "server")
    with RpcBus.connect(path) as bus:
        bus.layer(Adds(bus))
        assert metadata.call(bus, "a") == "2"
        assert metadata.call(bus, "added") == "none"

    class Reports:
        def __init__(self, bus: RpcBus) -> None:
            self.bus = bus
            self.reported: list[bytes] = []

        def after(self, call: OutgoingCall, outcome: CallOutcome, _: float, /) -> None:
            if call.name != "entries":
                text = f"{call.name} {type(outcome).__name__} "
                self.reported.append(entries.call(self.bus, text.encode()))

    with RpcBus.connect(path) as bus:
        reports = Reports(bus)
        bus.layer(reports)
        assert metadata.call(bus, "a") is None
        assert metadata.call(bus.within(LIMIT), "a") is None
        with pytest.raises(RpcError):
            raises.call(bus, "ValueError")
    assert reports.reported == [b"metadata Replied 0"] * 2 + [b"raises CallFailed 0"]

    class Closes:
        def before(self, _: OutgoingCall, /) -> None:
            closing.close()

    with RpcBus.connect(path) as closing:
        closing.layer(Closes())
        with pytest.raises(tachyon.BusClosedError):
            metadata.call(closing, "a")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupt_in_a_layer_is_the_outcome_of_the_call(
    service: Callable[..., Any], path: str, moment: str
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    service("layered", "server")
    seen = Seen()
    with RpcBus.connect(path) as bus:
        bus.layer(seen).layer(type("Interrupts", (), {moment: interrupt})())
        with pytest.raises(KeyboardInterrupt):
            metadata.call(bus, "a")
        with pytest.raises(KeyboardInterrupt):
            bus.finish(bus.start(b"", 2), timeout=LIMIT)
        assert bus.ping(timeout=LIMIT) > 0
    ends = [GivenUp()] * 2 if moment == "before" else [Replied(16), Replied(1)]
    assert seen.outcomes == ends


def test_the_base_classes_let_calls_pass(service: Callable[..., Any], path: str) -> None:
    service("layered", "bus")
    RpcDispatcher().layer(layers.Layer())
    with RpcBus.connect(path) as bus:
        assert metadata.call(bus.layer(layers.CallerLayer()), "a") is None


def test_layers_are_freed(service: Callable[..., Any], path: str) -> None:
    service("layered", "server")
    seen = Seen()
    dispatcher = RpcDispatcher().layer(seen)
    bus = RpcBus.connect(path)
    bus.layer(seen)
    bus.start(b"", 2)
    seen.kept = (dispatcher, bus)  # type: ignore[attr-defined]
    freed = weakref.ref(seen)
    del seen, dispatcher, bus
    gc.collect()
    assert freed() is None
