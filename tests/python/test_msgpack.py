"""The codec msgpack, in the four pairs of languages; hints and values that it refuses."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest

import tachyon
import tachyon.testing
from programs import PYTHON, program
from programs import tachyon as command_line
from services import packed
from services.packed import Closed, Event, Moved, Opened, Summary, TooMuch, Unknown
from tachyon import ErrorKind, LayoutMismatchError, RpcBus, RpcDispatcher, RpcError, tachyon_rpc
from tachyon.errors import BadReplyError

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 60.0
SERVICE = Path(__file__).parent / "services/packed.py"
EVENTS: list[Event] = [Opened("a", 10.5), Opened("b", 10.5), Moved("a", "b", 3, "grün")]
SAID = {"rust": "", "python": "RuntimeError: "}


@pytest.fixture(params=["rust", "python"])
def callee(request: pytest.FixtureRequest, path: str) -> Iterator[str]:
    """Serve the contract to one caller."""
    yield from serve_one(request.param, "packed", path)


@pytest.fixture(params=["rust", "python"])
def streams_callee(request: pytest.FixtureRequest, path: str) -> Iterator[str]:
    """Serve the streams of the contract to one caller."""
    yield from serve_one(request.param, "packed_streams", path)


def serve_one(language: str, role: str, path: str) -> Iterator[str]:
    line = [program("contract"), role, path] if language == "rust" else [*PYTHON, str(SERVICE), path]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield language
            _, err = process.communicate(timeout=LIMIT)
            assert (process.returncode, err) == (0, "")
        finally:
            process.kill()


def test_python_calls(callee: str, path: str) -> None:
    summary = Summary({"a": 7.5, "b": 13.5}, EVENTS[2])
    with RpcBus.connect(path) as bus:
        assert packed.apply.call(bus, EVENTS, {}, dry=True) == summary
        assert packed.count.call(bus) == 0
        assert packed.apply.call(bus, EVENTS, limits={}) == summary
        assert packed.count.call(bus) == 2
        with pytest.raises(TooMuch) as much:
            packed.apply.call(bus, EVENTS, {"a": 2.5})
        assert (much.value.amount, much.value.limit) == (3, 2.5)
        with pytest.raises(Unknown, match="no account a"):
            packed.apply.call(bus, [Closed(), EVENTS[2]], {})
        for event in [*EVENTS, Closed(), Moved("", "x" * 100_000, -(2**63))]:
            assert packed.same.call(bus, event) == event
        assert packed.maybe.call(bus, 2**63 - 1) == 2**63 - 1
        assert packed.maybe.call(bus, None) is None
        with pytest.raises(RpcError) as failed:
            packed.fails.call(bus, "why")
        assert failed.value.text == f"{SAID[callee]}why"
        # The caller sends values as they are; the callee checks them.
        with pytest.raises(RpcError) as refused:
            packed.same.call(bus, {"type": "Vanished"})  # type: ignore[arg-type]
        assert refused.value.kind is ErrorKind.BAD_REQUEST
        assert "Vanished" in refused.value.text
        assert packed.same.call(bus, {"type": "Closed"}) == Closed()  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="same: Encoding objects of type object is unsupported"):
            packed.same.call(bus, object())  # type: ignore[arg-type]
        packed.clear.call(bus)
        assert packed.count.call(bus) == 0


def test_rust_calls(callee: str, path: str) -> None:
    line = [program("contract"), "call_packed", path, SAID[callee]]
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_python_streams(streams_callee: str, path: str) -> None:
    last = Summary({"a": 7.5, "b": 13.5}, EVENTS[2])
    with RpcBus.connect(path) as bus:
        summaries = list(packed.history.stream(bus, EVENTS))
        assert [summary.last for summary in summaries] == EVENTS
        assert summaries[2] == last
        failing = packed.history.stream(bus, [EVENTS[0], EVENTS[2]])
        assert next(failing).last == EVENTS[0]
        with pytest.raises(Unknown, match="no account b"):
            next(failing)
        with packed.replay.stream(bus, None) as replayed:
            for event in EVENTS:
                replayed.send(event)
            assert replayed.finish() == last
        with packed.replay.stream(bus, Closed()) as replayed:
            assert replayed.finish().last == Closed()
        with packed.remark.stream(bus, "seen") as chat:
            for amount in range(100):
                chat.send(Closed())
                chat.send(Moved("a", "b", amount))
                assert next(chat) == Moved("a", "b", amount, "seen")
            chat.end()
            assert list(chat) == []
        # The caller sends values as they are; the callee checks them.
        with packed.remark.stream(bus, "seen") as chat:
            chat.send({"type": "Vanished"})
            with pytest.raises(RpcError, match="Vanished") as refused:
                next(chat)
            assert refused.value.kind is ErrorKind.BAD_REQUEST
    assert streams_callee in SAID


def test_rust_streams(streams_callee: str, path: str) -> None:
    line = [program("contract"), "stream_packed", path]
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert streams_callee in SAID


def test_the_command_line(callee: str, path: str) -> None:
    moved = {"type": "Moved", "from": "a", "to": "b", "amount": 1, "note": None}
    found = json.loads(command_line("call", path, "same", json.dumps({"event": moved})))
    assert found == moved
    assert callee in SAID


def test_both_describe_the_same(callee: str, path: str) -> None:
    lines = command_line("describe", path).splitlines()
    RpcBus.connect(path).close()
    assert lines[1].split("  ")[0].strip() == "301"
    assert "apply(msgpack) -> msgpack raises Unknown, TooMuch" in lines[1]
    assert callee in SAID


def test_generated_code_leaves_the_endpoints_out(callee: str, path: str) -> None:
    source = command_line("codegen", "rust", path)
    assert "// `same` (msg_type 302) is left out: a description has no types of values in msgpack." in source
    assert "fn count(&self) -> Result<u64, String>;" in source
    RpcBus.connect(path).close()
    assert callee in SAID


@dataclasses.dataclass
class Pair:
    one: int
    two: list[str] = dataclasses.field(default_factory=list)


def test_defaults_names_and_dataclasses() -> None:
    @tachyon_rpc(1, codec="msgpack")
    def join(pair: Pair, class_: str, _sep: str = "-", extra: list[str] = []) -> str:  # noqa: B006
        extra.append(class_)
        return _sep.join([str(pair.one), *pair.two, *extra])

    raw: Any = tachyon_rpc(1)(lambda payload: payload)
    pack = msgspec.msgpack.encode
    with tachyon.testing.serve(RpcDispatcher().register(join)) as bus:
        assert join.call(bus, Pair(1, ["a"]), "t") == "1-a-t"
        assert join.call(bus, Pair(1), class_="t", extra=["e"], _sep="") == "1et"
        # Each call gets a default of its own.
        for _ in range(2):
            assert raw.call(bus, pack({"pair": {"one": 2}, "class": "u"})) == pack("2-u")
        assert raw.call(bus, pack({"pair": {"one": 2}, "class": "u", "sep": "", "newer": 1})) == pack("2u")
        with pytest.raises(RpcError) as refused:
            raw.call(bus, pack({"pair": {"one": "x"}, "class": "u"}))
        assert refused.value.text == "the arguments of join: Expected `int`, got `str` - at `$.pair.one`"


def test_a_method_of_a_service() -> None:
    class Pairs(tachyon.Service):
        @tachyon_rpc(1, codec="msgpack")
        def swapped(self, pairs: dict[str, Pair], by: int = 1) -> set[str]:
            raise NotImplementedError

        @tachyon_rpc(2)
        def count(self) -> tachyon.u64: ...  # type: ignore[empty-body]

    class Swapping(Pairs):
        def swapped(self, pairs: dict[str, Pair], by: int = 1) -> set[str]:
            return {f"{name}{pair.one + by}" for name, pair in pairs.items()}

        def count(self) -> int:
            return 2

    with tachyon.testing.serve(RpcDispatcher().register(Swapping())) as bus:
        client = Pairs.client(bus)
        assert client.swapped({"a": Pair(1), "b": Pair(2)}) == {"a2", "b3"}
        assert client.swapped({"a": Pair(1)}, by=2) == {"a3"}
        assert client.count() == 2


def test_coroutines(path: str) -> None:
    @tachyon_rpc(1, codec="msgpack")
    async def swapped(pairs: dict[str, Pair]) -> set[str]:
        await asyncio.sleep(0)
        return {f"{name}{pair.one}" for name, pair in pairs.items()}

    async def call() -> None:
        with ThreadPoolExecutor(1) as pool:
            listening = pool.submit(RpcBus.listen, path, 1 << 16, 1 << 16)
            with await RpcBus.aconnect(path) as caller:
                callee = await asyncio.wrap_future(listening)
                serving = asyncio.create_task(RpcDispatcher().register(swapped).aserve(callee))
                assert await swapped.acall(caller, {"a": Pair(1)}) == {"a1"}
            await serving

    asyncio.run(asyncio.wait_for(call(), LIMIT))


def test_replies_that_do_not_decode() -> None:
    reply = b""

    @tachyon_rpc(1)
    def raw(_request: memoryview) -> bytes:
        return reply

    @tachyon_rpc(2, codec="msgpack")
    def unsound() -> int:
        return object()  # type: ignore[return-value]

    @tachyon_rpc(1, codec="msgpack")
    def number() -> int: ...  # type: ignore[empty-body]

    with tachyon.testing.serve(RpcDispatcher().register(raw).register(unsound)) as bus:
        for reply in (b"", b"\xa1x", b"\x01\x01", b"\x91" * 5000):  # noqa: B007 - the callee returns it
            with pytest.raises(BadReplyError, match="number: the callee's reply does not decode: the reply: "):
                number.call(bus)
        reply = b"\x07"
        assert number.call(bus) == 7
        with pytest.raises(RpcError, match="unsound: Encoding objects of type object is unsupported") as bad:
            unsound.call(bus)
        assert bad.value.kind is ErrorKind.BAD_REPLY


def test_the_codec_is_compared() -> None:
    @tachyon_rpc(1, codec="msgpack")
    def twice(number: int) -> int:
        return 2 * number

    @tachyon_rpc(1)
    def other(number: tachyon.i64) -> tachyon.i64: ...  # type: ignore[empty-body]

    with tachyon.testing.serve(RpcDispatcher().register(twice)) as bus:
        with pytest.raises(LayoutMismatchError, match="the request is i64 here, msgpack at the callee"):
            other.call(bus, 1)
        assert twice.call(bus, 4) == 8


class Point(tachyon.Struct):
    x: tachyon.f64


def test_functions_that_the_codec_refuses() -> None:
    def no_hint(a): ...  # type: ignore[no-untyped-def]

    def no_reply(a: int): ...  # type: ignore[no-untyped-def]

    def of_struct(a: list[Point]) -> None: ...

    def of_generator(a: Annotated[complex, 1]) -> None: ...

    def unions(a: Opened | Pair) -> None: ...

    for function, text in (
        (no_hint, "parameter `a` of no_hint has no hint"),
        (no_reply, "no_reply has no hint for its reply"),
        (of_struct, "parameter `a` of of_struct: Point is a tachyon.Struct"),
        (unions, "parameter `a` of unions: "),
    ):
        with pytest.raises(TypeError, match=text):
            tachyon_rpc(1, codec="msgpack")(function)
    with pytest.raises(ValueError, match="the one codec with a name is msgpack, not 'cbor'"):
        tachyon_rpc(1, codec="cbor")(of_struct)  # type: ignore[arg-type]
    tachyon_rpc(1, codec="msgpack")(of_generator)


def test_without_msgspec(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(number: int) -> int:
        return 2 * number

    monkeypatch.setitem(sys.modules, "msgspec", None)
    with pytest.raises(ImportError, match=r"pip install tachyon-ipc\[msgpack\]"):
        tachyon_rpc(1, codec="msgpack")(twice)
    assert msgspec is not None
