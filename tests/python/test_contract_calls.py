"""Python calls the contract of every form, served in Rust and in Python, through generated modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from calling import by_call, by_deadline, by_pool, by_task
from contract import LIMIT, WORDS, empty, forms, mark, origin, plain, scan, served, small
from tachyon import ErrorKind, HandlerError, RpcBus, RpcEndpoint, RpcError

if TYPE_CHECKING:
    from collections.abc import Callable


WAYS = [by_call, by_deadline, by_pool, by_task]


@pytest.mark.parametrize("way", WAYS)
def test_python_calls_every_form(api: Callable[[str], Any], language: str, path: str, way: Any) -> None:
    module = api("one")
    calls = forms(module)
    # The module keeps the builtin `bytes`, and names its endpoint `bytes2`.
    module.bytes = module.bytes2
    endpoints = {value.msg_type for value in vars(module).values() if isinstance(value, RpcEndpoint)}
    assert endpoints == {getattr(module, name).msg_type for name in calls} == set(range(1, 66))
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


@pytest.mark.parametrize("way", WAYS)
def test_python_calls_with_tensors(api: Callable[[str], Any], language: str, path: str, way: Any) -> None:
    module = api("many")
    with served(language, "many", path), way(path) as call:
        for height, width in ((2, 3), (0, 4), (30, 70)):
            image = np.arange(height * width, dtype=np.float32).reshape(height, width)
            turned = call(module.transposed, image, 2.0)
            assert (turned.dtype, turned.shape) == (np.float32, (width, height))
            assert (turned == 2 * image.T).all()
            # A reply is the caller's own.
            turned += 1
            # Columns of every second row, in Fortran order, are copied to C order.
            assert call(module.transposed, image[::2].T, 1.0).tolist() == image[::2].tolist()
            assert call(module.transposed, image.tolist() or [], 1.0).shape == (width if height else 0, height)
        before = call(module.reached)
        assert call(module.takes_tensor, np.array([[1, 2], [3, 4]], np.uint16)) == before + 1 + 10
        for wrong, error, text in (
            (np.zeros((1, 1, 1), np.float32), ValueError, "`?image`? has 2 dimensions, and this array has 3"),
            (np.zeros((1, 1)), TypeError, "is an array of float32, and this one is of float64: use astype"),
        ):
            with pytest.raises(error, match=text):
                call(module.transposed, wrong, 1.0)
        with pytest.raises(ValueError, match="has 2 dimensions, and this array has 1"):
            call(module.takes_tensor, np.zeros(1, np.uint16))
        assert call(module.takes_tensor, [[7]]) == before + 2 + 7


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
        # The fields arrive whole although the text is cut.
        assert failed(module.Odd, 2, long).why == long
        error = failed(module.Odd, 3, "")
        assert (error.why, error.origin, plain(error.marks)) == ("", origin(module), [mark(module)])
        # Too many fields stay behind; name and text arrive.
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
            assert type(raised.value) is HandlerError
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


def test_wrong_requests_are_refused_in_the_same_words(path: str) -> None:
    """Both languages refuse the same bytes with the same sentence."""
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
