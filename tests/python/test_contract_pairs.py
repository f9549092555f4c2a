"""One contract of every form, called across languages: Python calls Rust, and Rust calls Python.

`tests/src/contract.rs` holds the contract, `contract_service.py` serves the same one, and the program `contract` serves
and calls it in Rust. Python calls through the module that `tachyon codegen` writes for the callee.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tachyon import Array, ErrorKind, HandlerError, Pool, RpcBus, RpcEndpoint, RpcError
from test_codegen import load, tachyon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
PROGRAM = Path(os.environ.get("TACHYON_PROGRAMS", ROOT / "target/debug"), "contract")
SERVICE = Path(__file__).with_name("contract_service.py")
GENERATED = ROOT / "tests/tests/generated/contract_service.rs"
LIMIT = 60.0

# What precedes the text of an error that is not declared, and that of a panic.
WORDS = {"rust": ("", "panicked: "), "python": ("RuntimeError: ", "RuntimeError: ")}


@contextmanager
def served(language: str, role: str, path: str, size: int = 1 << 16) -> Iterator[None]:
    """Serve one caller, who ends it by leaving."""
    assert PROGRAM.exists(), f"{PROGRAM} is not built: run `cargo build -p tachyon-tests`, or set TACHYON_PROGRAMS"
    command = [str(PROGRAM)] if language == "rust" else [sys.executable, "-X", "dev", "-W", "error", str(SERVICE)]
    arguments = [*command, role, path, str(size)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield
            _, err = process.communicate(timeout=LIMIT)
            assert (process.returncode, err) == (0, "")
        finally:
            process.kill()


@pytest.fixture(params=["rust", "python"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def api(language: str, path: str, tmp_path: Path) -> Callable[[str], Any]:
    """Return a function that imports the module for a role of the callee."""

    def generate(role: str) -> Any:
        with served(language, role, path):
            source = tachyon("codegen", "python", path)
            RpcBus.connect(path).close()
        file = tmp_path / f"{role}_api.py"
        file.write_text(source)
        return load(file)

    return generate


@contextmanager
def by_call(path: str) -> Iterator[Any]:
    with RpcBus.connect(path) as bus:
        yield lambda endpoint, *given, **named: endpoint.call(bus, *given, **named)


@contextmanager
def by_deadline(path: str) -> Iterator[Any]:
    with RpcBus.connect(path) as bus:
        yield lambda endpoint, *given, **named: endpoint.call(bus.within(LIMIT), *given, **named)


@contextmanager
def by_pool(path: str) -> Iterator[Any]:
    with Pool(path, 1) as pool:
        yield pool.call


@contextmanager
def by_task(path: str) -> Iterator[Any]:
    with asyncio.Runner() as runner, RpcBus.connect(path) as bus:
        yield lambda endpoint, *given, **named: runner.run(endpoint.acall(bus, *given, **named))


WAYS = [by_call, by_deadline, by_pool, by_task]


def mark(api: Any) -> Any:
    return api.Mark(at=api.Point(x=0.5, y=-1.0), grade=api.Grade.Poor, valid=True)


def origin(api: Any, *, more: bool = True) -> Any:
    points = [api.Point(x=3.0, y=4.0)] if more else None
    return api.Origin(sensor="north", at=api.Point(x=1.0, y=2.0), more=points)


def scan(api: Any, points: int) -> Any:
    return api.Scan(
        taken_at=7,
        frame="grün",
        points=[api.Point(x=float(at), y=1.0) for at in range(points)],
        note="",
        marks=[mark(api)] * 2,
        tags=["a", "", "long " * 9],
        origin=origin(api),
        sources=[origin(api), origin(api, more=False)],
        rows=[[1, -2], [], [3]],
        complete=True,
        grade=api.Grade.Good,
        corrected=None,
    )


def empty(api: Any) -> Any:
    return api.Scan(
        taken_at=0,
        frame="",
        points=[],
        note=None,
        marks=[],
        tags=[],
        origin=api.Origin(sensor="", at=api.Point(x=0.0, y=0.0)),
        sources=[],
        rows=[],
        complete=False,
        corrected=origin(api),
    )


def small(api: Any) -> Any:
    return api.Small(
        flag=True,
        grade=api.Grade.Good,
        text="grün",
        numbers=[1, 2, 3],
        names=["a", "bc"],
        marks=[mark(api)],
        maybe=api.Grade.Poor,
        inner=api.Origin(sensor="n", at=api.Point(x=1.0, y=2.0)),
    )


def forms(api: Any) -> dict[str, list[Any]]:
    """Values for each endpoint that sends back its argument: empty, absent, larger than a slot, than 64 KiB."""
    one, poor = mark(api), api.Grade.Poor
    point = api.Point(x=1.0, y=-math.inf)
    lengths = (0, 1, 8, 116, 117, 5000)
    texts = ["é" * length for length in lengths] + ["\0\n\U0001f600", "x" * 100_000]
    data = [bytes(range(256)) * length for length in (0, 1, 30, 400)]
    names = [["n" * (at % 11) for at in range(length)] for length in (0, 1, 40, 9000)]
    marks = [[one] * length for length in (0, 1, 15, 5000)]
    rows = [[[0.25] * (at % 5) for at in range(length)] for length in (0, 1, 40, 5000)]
    flags = [[[True] * (at % 5) for at in range(length)] for length in (0, 1, 40, 5000)]
    whole = [empty(api), scan(api, 0), scan(api, 1), scan(api, 9000)]
    several: list[Any] = [[], [empty(api)], whole]
    forms: dict[str, list[Any]] = {
        "value_u8": [0, 255],
        "value_u16": [0, 65535],
        "value_u32": [0, 2**32 - 1],
        "value_u64": [0, 2**64 - 1],
        "value_i8": [-128, 127],
        "value_i16": [-(2**15), 2**15 - 1],
        "value_i32": [-(2**31), 2**31 - 1],
        "value_i64": [-(2**63), 2**63 - 1],
        "value_f32": [-math.inf, 0.5],
        "value_f64": [sys.float_info.min, 0.1],
        "value_bool": [True, False],
        "value_enum": [poor, api.Grade.Good],
        "value_array": [[1, 2, 3]],
        "value_grid": [[[1, 2], [3, -4]]],
        "value_marks": [[one, one]],
        "value_point": [point],
        "value_mark": [one],
        "lent_u64": [7],
        "lent_bool": [True],
        "lent_enum": [poor],
        "lent_array": [[1, 2, 3]],
        "lent_point": [point],
        "lent_mark": [one],
        "text": texts,
        "owned_text": texts,
        "bytes": data,
        "owned_bytes": data,
        "numbers": [[0.5] * length for length in (0, 1, 40, 10_000)],
        "bools": [[True, False] * length for length in (0, 1, 150, 40_000)],
        "enums": [[poor] * length for length in (0, 1, 150, 40_000)],
        "points": [[point] * length for length in (0, 1, 30, 10_000)],
        "marks": marks,
        "arrays": [[b"\1\2\3"] * length for length in (0, 1, 100, 5000)],
        "owned_marks": marks,
        "texts": names,
        "owned_texts": names,
        "rows": rows,
        "owned_rows": flags,
        "deep_rows": [[], [[]], [names, []]],
        "scan": whole,
        "owned_scan": whole,
        "lent_scan": whole,
        "scans": several,
        "owned_scans": several,
        "maybe_u32": [None, 0, 2**32 - 1],
        "maybe_bool": [None, False, True],
        "maybe_enum": [None, poor],
        "maybe_array": [None, [1, 2, 3]],
        "maybe_mark": [None, one],
        "maybe_text": [None, *texts],
        "maybe_owned_text": [None, *texts],
        "maybe_numbers": [None, [], [1.0, 2.0]],
        "maybe_marks": [None, [], [one]],
        "maybe_owned_marks": [None, [], [one]],
        "maybe_texts": [None, *names],
        "maybe_scan": [None, *whole],
        "maybe_owned_scan": [None, *whole],
        "maybe_scans": [None, *several],
        "maybe_owned_scans": [None, *several],
        "origins": [[], [origin(api), origin(api, more=False)] * 30],
    }
    return forms


def plain(value: Any) -> Any:
    """A reply as the values that were sent: arrays as lists, however deep."""
    if isinstance(value, Array | np.ndarray | list):
        return [plain(each) for each in value]
    return value


@pytest.mark.parametrize("way", WAYS)
def test_python_calls_every_form(api: Callable[[str], Any], language: str, path: str, way: Any) -> None:
    module = api("one")
    calls = forms(module)
    # The module itself refers to `bytes`.
    module.bytes = module.bytes2
    endpoints = {value.msg_type for value in vars(module).values() if isinstance(value, RpcEndpoint)}
    assert endpoints == {getattr(module, name).msg_type for name in calls} == set(range(1, 61))
    with served(language, "one", path, 1 << 20), way(path) as call:
        for name, values in calls.items():
            for value in values:
                found = plain(call(getattr(module, name), value))
                assert found == value, name
                assert type(found) is type(value), name


def everything(api: Any, call: Any, maybe: str | None, other: Any) -> None:
    arguments = {
        "byte": 200,
        "number": 2**64 - 1,
        "flag": True,
        "grade": api.Grade.Poor,
        "text": "text",
        "owned": "owned",
        "marks": [mark(api)] * 2,
        "numbers": [0.5, 0.25],
        "texts": ["one", ""],
        "rows": [b"\1", b""],
        "scan": scan(api, 3),
        "second": empty(api),
        "third": scan(api, 3),
        "scans": [empty(api), scan(api, 3)],
        "maybe": maybe,
        "other": other,
        "point": api.Point(x=1.0, y=2.0),
        "mark": mark(api),
        "array": [1, 2, 3],
    }
    expected = api.Everything(**arguments, name="everything", msg_type=101)
    assert call(api.everything, **arguments) == expected
    assert call(api.everything, *arguments.values()) == expected


@pytest.mark.parametrize("way", WAYS)
def test_python_calls_with_several_arguments(api: Callable[[str], Any], language: str, path: str, way: Any) -> None:
    module = api("many")
    with served(language, "many", path), way(path) as call:
        for maybe in (None, "", "maybe"):
            everything(module, call, maybe, None)
            everything(module, call, maybe, scan(module, 3))
        assert call(module.nothing) is None
        for points in (0, 3, 1000):
            given = scan(module, points)
            by = [module.Point(x=point.x + 0.5, y=point.y + 0.5) for point in given.points]
            assert call(module.moved, given, 0.5, "tag") == given.replace(points=by, tags=["tag"])
            assert call(module.moved, given, by=0.5) == given.replace(points=by, tags=["moved"])
        comma = module.Code(number=ord(","))
        assert call(module.split, "a,,bc", comma) == ["a", "", "bc"]
        with pytest.raises(module.Busy, match=r"^busy$"):
            call(module.split, "", comma)
        assert call(module.shared_text, request=True) == "TEXT"
        assert (call(module.cow_text, "text"), call(module.cow_text, "grün")) == ("text", "gr?n")
        assert plain(call(module.cow_marks, [mark(module)] * 9)) == [mark(module)] * 2
        assert plain(call(module.boxed, [module.Point(x=0.0, y=0.0)])) == [module.Point(x=0.0, y=0.0)]
        assert call(module.shared_texts, ["a", ""]) == ["a", ""]
        assert plain(call(module.constant)) == [1, 2, 3]
        assert call(module.fallible, scan(module, 1), take=True) == scan(module, 1)
        assert call(module.fallible, scan(module, 1), take=False) is None
        with pytest.raises(module.Busy):
            call(module.fallible, empty(module), take=True)
        before = call(module.reached)
        assert before == 12 + 1 + 6
        assert call(module.takes_one, small(module)) == before + 1 + 3
        several = (True, module.Grade.Good, "text", [mark(module)], [[True], []], small(module), "maybe")
        assert call(module.takes_several, *several) == before + 2
        assert call(module.takes_texts, ["a", "", "grün"]) == before + 3 + 6
        assert call(module.takes_flags, [True, False]) == before + 4 + 2
        assert call(module.takes_grade, module.Grade.Poor) == before + 5 + 700
        assert call(module.takes_text, "grün") == before + 6 + 5
        assert call(module.takes_maybe, 9) == before + 7 + 9
        assert call(module.takes_maybe, None) == before + 8
        assert call(module.gives_small) == small(module)
        assert call(module.long_text, 35_000, "end") == "x" * 35_000 + "end"
        assert call(module.add_slowly, 1, 2, 0) == 3
        assert call(module.zeros, 300) == bytes(300)


def test_python_calls_a_service(api: Callable[[str], Any], language: str, path: str) -> None:
    module = api("sensor")
    with served(language, "sensor", path), RpcBus.connect(path) as bus:
        given = scan(module, 300)
        assert module.filter.call(bus, given, 2.0, [1, 2], None) == given.replace(points=list(given.points[:2]))
        assert module.filter.call(bus, given, 0.0, [], limit=9).taken_at == 9
        with pytest.raises(module.NoSensor) as raised:
            module.filter.call(bus, given, 2.0, [1, 101])
        assert raised.value.sensor == 101
        assert module.rename.call(bus, "", "first") == "first"
        assert module.rename.call(bus, "", "second") is None
        assert module.name.call(bus) == "first"
        assert module.doubled.call(bus, given) == [given, given]
        module.reset.call(bus)
        assert module.name.call(bus) == ""


@pytest.mark.parametrize("way", WAYS)
def test_python_catches_declared_errors(api: Callable[[str], Any], language: str, path: str, way: Any) -> None:
    module = api("many")
    long = "why " * 400
    with served(language, "many", path), way(path) as call:

        def failed(error: type[RpcError], *given: Any) -> Any:
            with pytest.raises(error) as raised:
                call(module.fails, *given)
            assert type(raised.value) is error
            assert (raised.value.kind, raised.value.msg_type) == (ErrorKind.HANDLER_FAILED, 110)
            return raised.value

        assert str(failed(module.Busy, 0, "")) == "busy"
        error = failed(module.NoSensor, 1, "")
        assert (error.sensor, str(error), error.text) == (3, "no sensor 3", "no sensor 3")
        error = failed(module.Odd, 2, "because")
        assert (error.why, error.origin, plain(error.marks), str(error)) == ("because", None, [], "because")
        # The fields are whole although the text is cut.
        assert failed(module.Odd, 2, long).why == long
        error = failed(module.Odd, 3, "")
        assert (error.why, error.origin, plain(error.marks)) == ("", origin(module), [mark(module)])
        # Fields that are too many stay behind, and name and text arrive.
        error = failed(HandlerError, 4, "because")
        assert (error.name, error.text) == ("Odd", "because")
        error = failed(HandlerError, 4, long)
        assert error.text.startswith("why why")
        assert error.text.endswith("…")
        assert 1018 < len(error.text.encode()) <= 1024


def test_python_catches_errors_in_words(api: Callable[[str], Any], language: str, path: str) -> None:
    module = api("many")
    words, panicked = WORDS[language]
    with served(language, "many", path), RpcBus.connect(path) as bus:

        def failed(endpoint: Any, *given: Any) -> str:
            with pytest.raises(RpcError) as raised:
                endpoint.call(bus, *given)
            assert type(raised.value) is RpcError
            assert (raised.value.kind, raised.value.name) == (ErrorKind.HANDLER_FAILED, "")
            return str(raised.value.text)

        assert module.fails_in_words.call(bus, "word", 0) == 0
        assert failed(module.fails_in_words, "word", 2) == f"{words}wordword"
        assert failed(module.fails_in_words, "é", 2000) == words + "é" * ((1021 - len(words)) // 2) + "…"
        assert failed(module.fails_raw, b"raw") == ""
        assert module.parses.call(bus, "7f", 16) == 0x7F
        assert failed(module.parses, "x", 10) == f"{words}invalid digit found in string"
        assert failed(module.fails, 9, "thrown") == f"{panicked}thrown"


def test_hidden_texts_leave_names_and_fields(api: Callable[[str], Any], language: str, path: str) -> None:
    module = api("hidden")
    with served(language, "hidden", path), RpcBus.connect(path) as bus:
        with pytest.raises(module.NoSensor) as raised:
            module.fails.call(bus, 1, "")
        assert raised.value.sensor == 3
        for endpoint, given in ((module.fails_in_words, ("word", 2)), (module.fails, (9, "thrown"))):
            with pytest.raises(RpcError) as other:
                endpoint.call(bus, *given)
            assert (other.value.name, other.value.text) == ("", "")


def test_a_wrong_value_is_refused_before_it_is_sent(api: Callable[[str], Any], language: str, path: str) -> None:
    module = api("many")
    first = small(module)
    several = (True, module.Grade.Good, "text", [mark(module)], [[True], []], first, "maybe")
    wrong: list[tuple[Any, tuple[Any, ...], type[Exception], str]] = [
        (module.takes_text, (b"text",), TypeError, "text"),
        (module.takes_text, ("\ud800",), ValueError, "surrogate"),
        (module.takes_texts, ("text",), TypeError, "a sequence of values, not str"),
        (module.takes_texts, (["a", 7],), TypeError, r"\[1\]"),
        (module.takes_flags, ([1],), TypeError, "bool"),
        (module.takes_grade, (700,), TypeError, "Grade"),
        (module.takes_maybe, (-1,), OverflowError, "u32"),
        (module.takes_maybe, (1.0,), TypeError, "a whole number"),
        (module.takes_one, (mark(module),), TypeError, "Small"),
        (module.takes_one, ({"flag": True},), TypeError, "Small"),
        (module.takes_several, several[:-2], TypeError, "value"),
        (module.takes_several, (*several, 1), TypeError, "arguments"),
        (module.takes_several, (1, *several[1:]), TypeError, "flag"),
        (module.takes_several, (*several[:3], [module.Point(x=0.0, y=0.0)], *several[4:]), TypeError, "marks"),
        (module.takes_several, (*several[:4], [[1]], *several[5:]), TypeError, "rows"),
        (module.takes_several, (*several[:-1], b"maybe"), TypeError, "maybe"),
        (module.long_text, (2**32, ""), OverflowError, "count"),
        (module.nothing, (1,), TypeError, "argument"),
    ]
    with served(language, "many", path), RpcBus.connect(path) as bus:
        for endpoint, given, error, text in wrong:
            with pytest.raises(error, match=text) as raised:
                endpoint.call(bus, *given)
            assert not isinstance(raised.value, RpcError), endpoint
        assert module.reached.call(bus) == 0
        assert module.takes_several.call(bus, *several) == 1


def test_requests_that_are_none_are_refused_in_the_same_words(path: str) -> None:
    """Both languages judge the same bytes in the same sentence."""
    requests = [
        *[(4, data) for data in (b"", b"1234567", b"123456789")],
        *[(11, data) for data in (b"", b"\2", b"\1\1")],
        *[(12, data) for data in (b"", b"\0\0", b"\1")],
        *[(17, bytes(size)) for size in (0, 15, 16, 17)],
        (17, bytes(8) + b"\1\0\2" + bytes(5)),
        (24, b"ab\xff"),
        (28, bytes(7)),
        (29, b"\0\1\2"),
        (30, b"\1\0\2\0"),
        (32, bytes(15)),
        (33, bytes(4)),
        (35, b""),
        (35, b"\xff\xff\xff\xff" + bytes(4)),
        (35, b"\1\0\0\0\0\0\0\0\x08\0\0\0\1\0\0\0a"),
        (37, b"\1\0\0\0\0\0\0\0\x10\0\0\0\1\0\0\0a"),
        (40, b""),
        (40, b"\4\0\0\0"),
        (40, b"\xff\xff\xff\xff"),
        (40, b"\x58\0\0\0" + bytes(100)),
        (45, b""),
        (45, b"\x0c\0\0\0\1\0\0\0\4\0\0\0" + bytes(8)),
        (46, b"\x0c\0\0\0\x10\0\0\0\1\0\0\0\0\0\0\0\2"),
        (47, b"\x0c\0\0\0\x10\0\0\0\2\0\0\0\0\0\0\0\2\2"),
        (50, b"\x0c\0\0\0\x10\0\0\0\2\0\0\0\0\0\0\0\xff\xff"),
        (50, b"\x0a\0\0\0\x10\0\0\0\2\0\0\0\0\0\0\0ab"),
        (61, b""),
    ]
    said: dict[str, list[str]] = {"rust": [], "python": []}
    for language, found in said.items():
        with served(language, "one", path), RpcBus.connect(path) as bus:
            for msg_type, data in requests:
                with bus.wait(bus.call(data, msg_type), timeout=LIMIT) as reply:
                    kind, shown = reply.error_kind, bytes(reply)
                assert kind in (ErrorKind.BAD_REQUEST, ErrorKind.NO_HANDLER), (msg_type, data)
                found.append(f"{msg_type} {data!r} {kind} {shown[8:]!r}")
    assert said["python"] == said["rust"]


def expanded(description: dict[str, Any]) -> list[Any]:
    """The endpoints without documentation and with types in place of their numbers."""
    types = description.get("types", [])

    def whole(value: Any) -> Any:
        if isinstance(value, list):
            return [whole(each) for each in value]
        if not isinstance(value, dict):
            return value
        if "ref" in value:
            return whole(types[value["ref"]])
        # Rust has no type for bytes of a fixed length.
        if value.get("kind") == "bytes":
            return {"kind": "array", "of": "u8", "len": value["len"]}
        return {key: whole(each) for key, each in value.items() if key != "doc"}

    return [whole(endpoint) for endpoint in description["endpoints"]]


@pytest.mark.parametrize("role", ["one", "many", "sensor"])
def test_both_describe_the_same(role: str, path: str) -> None:
    described, heads = {}, {}
    for language in WORDS:
        with served(language, role, path):
            described[language] = json.loads(tachyon("describe", path, "--json"))
            lines = tachyon("describe", path).splitlines()[1:]
            RpcBus.connect(path).close()
        heads[language] = [re.split(r" {2,}", line.strip())[:2] for line in lines]
    assert heads["python"] == heads["rust"]
    assert len(heads["rust"]) == {"one": 60, "many": 27, "sensor": 5}[role]
    assert expanded(described["python"]) == expanded(described["rust"])


MARK = {"at": {"x": 0.5, "y": -1.0}, "grade": "Poor", "valid": True}
CALLS: list[tuple[str, str, list[Any], Any]] = [
    ("one", "value_u64", [2**64 - 1], 2**64 - 1),
    ("one", "value_enum", ["Poor"], "Poor"),
    ("one", "value_grid", [[[1, 2], [3, -4]]], [[1, 2], [3, -4]]),
    ("one", "marks", [[MARK]], [MARK]),
    ("one", "text", ["grün"], "grün"),
    ("one", "texts", [["a", ""]], ["a", ""]),
    ("one", "deep_rows", [[[["a"], []], []]], [[["a"], []], []]),
    ("one", "maybe_u32", [None], None),
    ("one", "maybe_text", ["text"], "text"),
    ("many", "nothing", [], None),
    ("many", "split", [{"text": "a,b", "at": {"number": 44}}], ["a", "b"]),
    ("many", "takes_maybe", [5], 6),
    ("sensor", "rename", [{"from": "", "to": "first"}], "first"),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call[1])
def test_the_command_line_calls(language: str, path: str, call: tuple[str, str, list[Any], Any]) -> None:
    role, name, given, printed = call
    with served(language, role, path):
        assert json.loads(tachyon("call", path, name, *map(json.dumps, given))) == printed


def test_the_command_line_shows_a_declared_error(language: str, path: str) -> None:
    with served(language, "many", path):
        message = tachyon("call", path, "fails", json.dumps({"how": 1, "text": ""}), status=1)
    assert message.splitlines()[1:] == ["tachyon: fails: HANDLER_FAILED NoSensor: no sensor 3"]


def rust(*arguments: str) -> None:
    process = subprocess.run([str(PROGRAM), *arguments], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("role", "scene", "size"),
    [
        ("one", "call_one", 1 << 20),
        ("one", "call_one", 1 << 16),
        ("many", "call_many", 1 << 16),
        ("many", "call_small", 1 << 12),
        ("hidden", "call_hidden", 1 << 16),
        ("sensor", "call_sensor", 1 << 16),
        ("many", "call_generated", 1 << 16),
    ],
)
def test_rust_calls(language: str, path: str, role: str, scene: str, size: int) -> None:
    with served(language, role, path, size):
        rust(scene, path, *(WORDS[language] if scene == "call_many" else ()))


def test_rust_code_for_the_python_service_is_what_is_compiled(path: str) -> None:
    """`UPDATE=1` writes the file anew, which the program `contract` is made of."""
    with served("python", "many", path):
        source = tachyon("codegen", "rust", path)
        RpcBus.connect(path).close()
    if "UPDATE" in os.environ:
        GENERATED.write_text(source)
    assert source == GENERATED.read_text()


def test_python_code_for_both_services_is_the_same(path: str) -> None:
    sources = {}
    for language in WORDS:
        with served(language, "many", path):
            # Documentation is Rust's alone.
            source = tachyon("codegen", "python", path)
            RpcBus.connect(path).close()
        sources[language] = [line for line in source.splitlines() if line.strip() not in ("", "pass")]
    shown = {language: [line for line in lines if '"""' not in line] for language, lines in sources.items()}
    assert shown["python"] == shown["rust"]


def end_in_every_way(module: Any, path: str) -> None:
    """As `end_in_every_way` of the Rust caller."""
    with RpcBus.connect(path) as bus:
        module.nothing.call(bus)
        module.takes_one.call(bus, small(module))
        for endpoint, *given in (
            (module.fails, 0, ""),
            (module.fails_in_words, "word", 2),
            (module.fails, 9, "thrown"),
        ):
            with pytest.raises(RpcError):
                endpoint.call(bus, *given)
        with bus.wait(bus.call(b"", 404), timeout=LIMIT) as reply:
            assert reply.error_kind is ErrorKind.NO_HANDLER


def test_statistics_and_layers_see_both_callers_alike(
    language: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TACHYON_RUNTIME_DIR", str(tmp_path))
    command = [str(PROGRAM)] if language == "rust" else [sys.executable, str(SERVICE)]
    with subprocess.Popen([*command, "seen_server", path], stdout=subprocess.PIPE, text=True) as process:
        try:
            (tmp_path / "seen_api.py").write_text(tachyon("codegen", "python", path))
            module = load(tmp_path / "seen_api.py")
            counted = []
            for call in (lambda: end_in_every_way(module, path), lambda: rust("call_endings", path)):
                call()
                look = json.loads(tachyon("top", path, "--once", "--json", "--interval", "0.1"))
                lines = [(line["msg_type"], line["name"], line["calls"], line["errors"]) for line in look["endpoints"]]
                counted.append([line for line in lines if line[2]])
        finally:
            process.kill()
            out, _ = process.communicate(timeout=LIMIT)
    once, twice = counted
    assert {line[:2]: line[2:] for line in once if line[0]} == {
        (100, "nothing"): (1, 0),
        (108, "takes_one"): (1, 0),
        (110, "fails"): (2, 2),
        (111, "fails_in_words"): (1, 1),
    }
    assert [line[2:] for line in once if not line[0]] == [(1, 1)]
    assert twice == [(*line[:2], 2 * line[2], 2 * line[3]) for line in once]
    if language == "rust":
        seen = out.splitlines()
        half = len(seen) // 2
        assert seen[:half] == seen[half:]
        assert seen[:2] == ["100 nothing 0 Replied(0)", f"108 takes_one {len(bytes(small(module)))} Replied(8)"]
        assert seen[2:half] == [
            "110 fails 16 Failed(HandlerFailed)",
            "111 fails_in_words 24 Failed(HandlerFailed)",
            "110 fails 24 Failed(HandlerFailed)",
            "404  0 Failed(NoHandler)",
        ]
