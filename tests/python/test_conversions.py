"""Values that become bytes, and values that are refused: requests, replies and assignments of each hint."""

from __future__ import annotations

import array
import collections
import ctypes
import enum
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import pytest

import tachyon
from tachyon import Array, RpcBus, RpcDispatcher, tachyon_rpc
from tachyon._hints import layout
from tachyon._tachyon import Items
from tachyon.errors import BadReplyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Peer


class Side(tachyon.IntEnum, repr="u8"):
    BUY = 1
    SELL = 2


class Other(tachyon.IntEnum, repr="u8"):
    BUY = 1


class Point(tachyon.Struct):
    x: tachyon.f32
    y: tachyon.f32


class Twin(tachyon.Struct):
    x: tachyon.f32
    y: tachyon.f32


class Order(tachyon.Struct):
    price: tachyon.f64
    side: Side
    live: tachyon.bool
    _pad: Annotated[bytes, 6] = tachyon.pad()


class Named(tachyon.Struct):
    name: str


class Numbers(enum.IntEnum):
    ONE = 1


HINTS: dict[str, Any] = {
    "u8": tachyon.u8,
    "i16": tachyon.i16,
    "u64": tachyon.u64,
    "i64": tachyon.i64,
    "f32": tachyon.f32,
    "f64": tachyon.f64,
    "bool": tachyon.bool,
    "str": str,
    "bytes": bytes,
    "enum": Side,
    "struct": Point,
    "named": Named,
    "list_i64": list[tachyon.i64],
    "array_i64": Array[tachyon.i64],
    "array_f32": Array[tachyon.f32],
    "array_bool": Array[tachyon.bool],
    "array_enum": Array[Side],
    "array_point": Array[Point],
    "array_order": Array[Order],
    "list_str": list[str],
    "list_point": list[Point],
    "list_named": list[Named],
    "nd_i64": npt.NDArray[np.int64],
    "nd_f32": npt.NDArray[np.float32],
    "nd_bool": npt.NDArray[np.bool_],
    "nd_point": Annotated[npt.NDArray[np.void], Point],
    "image": np.ndarray[tuple[int, int], np.dtype[np.float32]],
    "cube": np.ndarray[tuple[int, int, int], np.dtype[np.uint8]],
    "images": list[np.ndarray[tuple[int, int], np.dtype[np.float32]]],
    "maybe_image": np.ndarray[tuple[int, int], np.dtype[np.float32]] | None,
    "four": Annotated[Array[tachyon.f64], 4],
    "key": Annotated[bytes, 2],
    "text": Annotated[str, 3],
    "option": tachyon.u8 | None,
}


class _Holder:
    """A hint as a parameter, a reply and a field."""

    def __init__(self, name: str) -> None:
        hint = HINTS[name]

        def both(value, other):  # type: ignore[no-untyped-def]
            return value

        both.__annotations__ = {"value": hint, "other": tachyon.u8, "return": hint}
        self.endpoint = tachyon_rpc(1)(both)
        namespace = {"__annotations__": {"value": hint, "other": str}, "__module__": __name__}
        self.struct = type(tachyon.Struct)("Held", (tachyon.Struct,), namespace)
        namespace = {"__annotations__": {"value": hint}, "__module__": __name__}
        self.alone = type(tachyon.Struct)("Alone", (tachyon.Struct,), namespace)


def plain(value: Any) -> Any:
    """Return a value that compares."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [plain(each) for each in value]
    return list(value) if isinstance(value, Array) else value


class Ways:
    """The ways for a value of a hint to become bytes; each returns the value that arrives."""

    def __init__(self, bus: RpcBus, dispatcher: RpcDispatcher, name: str) -> None:
        self._bus = bus
        self._held = _Holder(name)
        self._reply: Any = None

        def answer():  # type: ignore[no-untyped-def]
            return self._reply

        answer.__annotations__ = {"return": HINTS[name]}
        self._answer = tachyon_rpc(2)(answer)
        dispatcher.register(self._held.endpoint).register(self._answer)

    def request(self, value: Any) -> Any:
        return plain(self._held.endpoint.call(self._bus, value, other=1))

    def reply(self, value: Any) -> Any:
        self._reply = value
        try:
            return plain(self._answer.call(self._bus))
        except tachyon.RpcError as error:
            if error.kind is tachyon.ErrorKind.BAD_REPLY:
                raise BadReplyError(error.text) from error
            raise

    def assign(self, value: Any) -> Any:
        made = self._held.struct(value=value, other="")
        made.value = value
        return plain(type(made).from_bytes(bytes(made)).value)

    def assign_alone(self, value: Any) -> Any:
        made = self._held.alone(value=value)
        made.value = value
        return plain(made.value)

    def __iter__(self) -> Iterator[Callable[[Any], Any]]:
        return iter((self.request, self.reply, self.assign, self.assign_alone))


@pytest.fixture
def ways(path: str, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[str], Ways]]:
    caplog.set_level(logging.CRITICAL)
    with ThreadPoolExecutor(2) as pool:
        listening = pool.submit(RpcBus.listen, path, 1 << 16, 1 << 16)
        with RpcBus.connect(path) as caller:

            def begin(name: str) -> Ways:
                dispatcher = RpcDispatcher()
                made = Ways(caller, dispatcher, name)
                pool.submit(dispatcher.serve_forever, listening.result())
                return made

            yield begin
        listening.result().close()


class Exporter:
    """An array of another library, which exports DLPack and nothing else."""

    def __init__(self, values: Any, device: tuple[int, int] = (1, 0)) -> None:
        self._values = values
        self._device = device

    def __dlpack__(self, **settings: Any) -> Any:
        if isinstance(self._values, Exception):
            raise self._values
        return self._values.__dlpack__(**settings)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device


IMAGE = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
COLUMNS = [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]
FROZEN = np.frombuffer(IMAGE.tobytes(), np.float32).reshape(2, 3)


def spaced(values: Any) -> Any:
    return np.repeat(np.asarray(values), 2)[::2]


NAN = float("nan")
TAKEN = [
    ("u8", 255, 255),
    ("u8", np.int64(7), 7),
    ("u8", Numbers.ONE, 1),
    ("u64", (1 << 64) - 1, (1 << 64) - 1),
    ("u64", np.uint64((1 << 64) - 1), (1 << 64) - 1),
    ("i64", -(1 << 63), -(1 << 63)),
    ("i16", np.int8(-3), -3),
    ("f64", 0.1, 0.1),
    ("f64", 1 << 53, float(1 << 53)),
    ("f64", np.float32(0.5), 0.5),
    ("f64", np.float16(0.5), 0.5),
    ("f64", np.longdouble(0.5), 0.5),
    ("f64", np.int32(7), 7.0),
    ("f64", math.inf, math.inf),
    ("f32", 0.1, float(np.float32(0.1))),
    ("f32", np.float64(0.1), float(np.float32(0.1))),
    ("f32", -math.inf, -math.inf),
    ("f32", 1 << 24, float(1 << 24)),
    ("bool", True, True),
    ("bool", np.bool_(0), False),
    ("str", "aé\0", "aé\0"),
    ("str", np.str_("x"), "x"),
    ("bytes", b"ab", b"ab"),
    ("bytes", bytearray(b"ab"), b"ab"),
    ("bytes", memoryview(b"ab"), b"ab"),
    ("key", memoryview(b"ab"), b"ab"),
    ("text", "é", "é"),
    ("enum", Side.SELL, Side.SELL),
    ("struct", Point(x=1.0, y=2.0), Point(x=1.0, y=2.0)),
    ("named", Named(name="x"), Named(name="x")),
    ("list_i64", [1, np.int8(-2)], [1, -2]),
    ("list_i64", (1, 2), [1, 2]),
    ("list_i64", range(3), [0, 1, 2]),
    ("list_i64", collections.deque([5]), [5]),
    ("list_i64", np.array([1, 2]), [1, 2]),
    ("list_i64", spaced([1, 2]), [1, 2]),
    ("list_i64", array.array("q", [3]), [3]),
    ("list_i64", memoryview(array.array("q", [3])), [3]),
    ("list_i64", (ctypes.c_int64 * 2)(1, 2), [1, 2]),
    ("list_i64", [], []),
    ("array_i64", np.array([1, 2]), [1, 2]),
    ("array_i64", [1, 2], [1, 2]),
    ("array_i64", (ctypes.c_int64 * 2)(1, 2), [1, 2]),
    ("array_f32", (ctypes.c_float * 1)(0.5), [0.5]),
    ("array_f32", [1, 0.5], [1.0, 0.5]),
    ("array_bool", [True, np.bool_(0)], [True, False]),
    ("array_bool", np.array([True]), [True]),
    ("array_enum", [Side.BUY], [Side.BUY]),
    ("array_point", [Point(x=1.0, y=2.0)], [Point(x=1.0, y=2.0)]),
    ("array_point", np.array([(1, 2)], dtype=Point.dtype), [Point(x=1.0, y=2.0)]),
    ("list_str", ["a", ""], ["a", ""]),
    ("list_point", (Point(x=1.0, y=2.0),), [Point(x=1.0, y=2.0)]),
    ("list_named", [Named(name="x")], [Named(name="x")]),
    ("nd_i64", np.array([1, 2]), [1, 2]),
    ("nd_i64", np.array([], dtype=np.int64), []),
    ("nd_i64", spaced([1, 2]), [1, 2]),
    ("nd_i64", [1, np.int16(2)], [1, 2]),
    ("nd_i64", array.array("q", [3]), [3]),
    ("nd_i64", (ctypes.c_int64 * 2)(1, 2), [1, 2]),
    ("nd_f32", [1, 0.5], [1.0, 0.5]),
    ("nd_bool", [True], [True]),
    ("nd_point", np.array([(1, 2)], dtype=Point.dtype), [(1.0, 2.0)]),
    ("nd_point", [Point(x=1.0, y=2.0)], [(1.0, 2.0)]),
    ("image", IMAGE, ROWS),
    ("image", IMAGE.T, COLUMNS),
    ("image", np.asfortranarray(IMAGE), ROWS),
    ("image", IMAGE[::-1, ::-1], [row[::-1] for row in ROWS[::-1]]),
    ("image", np.zeros((0, 3), np.float32), []),
    ("image", np.zeros((2, 0), np.float32), [[], []]),
    ("image", FROZEN, ROWS),
    ("image", IMAGE.view(np.matrix), ROWS),
    ("image", ROWS, ROWS),
    ("image", ((1, np.int8(2)), range(2)), [[1.0, 2.0], [0.0, 1.0]]),
    ("image", [], []),
    ("image", [[], []], [[], []]),
    ("image", [IMAGE[0], IMAGE[1]], ROWS),
    ("image", memoryview(IMAGE), ROWS),
    ("image", (ctypes.c_float * 2 * 1)((1, 2)), [[1.0, 2.0]]),
    ("image", Exporter(IMAGE), ROWS),
    ("image", Exporter(IMAGE.T), COLUMNS),
    ("cube", np.arange(4, dtype=np.uint8).reshape(1, 2, 2), [[[0, 1], [2, 3]]]),
    ("cube", [[[0, 1], [2, 3]]], [[[0, 1], [2, 3]]]),
    ("images", [IMAGE, [[7]], Exporter(IMAGE)], [ROWS, [[7.0]], ROWS]),
    ("images", (IMAGE,), [ROWS]),
    ("maybe_image", None, None),
    ("maybe_image", IMAGE, ROWS),
    ("four", [1, 2, 3, 4], [1.0, 2.0, 3.0, 4.0]),
    ("four", np.arange(4.0), [0.0, 1.0, 2.0, 3.0]),
    ("option", None, None),
    ("option", 3, 3),
]

SWAPPED = np.dtype([("y", "<f4"), ("x", "<f4")])
REFUSED = [
    ("u8", True, TypeError, "must be a whole number (u8), not bool"),
    ("u8", np.bool_(1), TypeError, "must be a whole number (u8), not bool"),
    ("u8", 1.0, TypeError, "must be a whole number (u8), not float"),
    ("u8", np.float64(1), TypeError, "must be a whole number (u8), not float64"),
    ("u8", "7", TypeError, "must be a whole number (u8), not str"),
    ("u8", None, TypeError, "must be a whole number (u8), not NoneType"),
    ("u8", np.array(7), TypeError, "must be a whole number (u8), not ndarray"),
    ("u8", np.timedelta64(5), TypeError, "must be a whole number (u8), not timedelta64"),
    ("u8", 256, OverflowError, "is u8, from 0 to 255, and 256 is out of that range"),
    ("u8", np.int64(-1), OverflowError, "and -1 is out of that range"),
    ("u64", 1 << 64, OverflowError, "is out of that range"),
    ("u64", -1, OverflowError, "is out of that range"),
    ("i64", 1 << 63, OverflowError, "is out of that range"),
    ("i64", 10**6000, OverflowError, "a huge number is out of that range"),
    ("f64", True, TypeError, "must be a number (f64), not bool"),
    ("f64", np.bool_(1), TypeError, "must be a number (f64), not bool"),
    ("f64", "1", TypeError, "must be a number (f64), not str"),
    ("f64", 1j, TypeError, "must be a number (f64), not complex"),
    ("f64", np.timedelta64(5, "s"), TypeError, "must be a number (f64), not timedelta64"),
    ("f64", np.array(1.0), TypeError, "must be a number (f64), not ndarray"),
    ("f64", (1 << 53) + 1, OverflowError, "is f64, which has no 9007199254740993"),
    ("f64", 10**400, OverflowError, "is f64, which has no"),
    ("f64", np.longdouble(1) + np.finfo(np.longdouble).eps, OverflowError, "is f64, which has no"),
    ("f32", (1 << 24) + 1, OverflowError, "is f32, which has no 16777217"),
    ("f32", 1e39, OverflowError, "is f32, and 1e+39 is out of its range"),
    ("f32", np.float64(1e39), OverflowError, "is f32, and 1e+39 is out of its range"),
    ("bool", 1, TypeError, "must be a bool, not int"),
    ("bool", 0, TypeError, "must be a bool, not int"),
    ("bool", np.int8(1), TypeError, "must be a bool, not int8"),
    ("str", b"x", TypeError, "must be text, not bytes"),
    ("str", 7, TypeError, "must be text, not int"),
    ("str", "\ud800", ValueError, "half of a surrogate pair"),
    ("text", "\ud800", ValueError, "half of a surrogate pair"),
    ("text", "éé", ValueError, "holds 3 bytes of UTF-8"),
    ("key", "ab", TypeError, "must be 2 bytes, not str"),
    ("key", b"abc", ValueError, "must be 2 bytes, and 3 were given"),
    ("enum", 1, TypeError, "must be a Side, not int"),
    ("enum", Other.BUY, TypeError, "must be a Side, not Other"),
    ("enum", "BUY", TypeError, "must be a Side, not str"),
    ("enum", int.__new__(Side, 99), ValueError, "Side is 99, and Side has no such value"),
    ("struct", {"x": 1.0, "y": 2.0}, TypeError, "must be a Point, not dict"),
    ("struct", Twin(x=1.0, y=2.0), TypeError, "must be a Point, not Twin"),
    ("named", Point(x=1.0, y=2.0), TypeError, "must be a Named, not Point"),
    ("list_i64", "12", TypeError, "must be a sequence of values, not str"),
    ("list_i64", b"12", TypeError, "must be a sequence of values, not bytes"),
    ("list_i64", bytearray(b"12"), TypeError, "must be a sequence of values, not bytearray"),
    ("list_i64", {1, 2}, TypeError, "must be a sequence of values, not set"),
    ("list_i64", {1: 2}, TypeError, "must be a sequence of values, not dict"),
    ("list_i64", iter([1]), TypeError, "must be a sequence of values, not list_iterator"),
    ("list_i64", 7, TypeError, "must be a sequence of values, not int"),
    ("list_i64", [1, 1.5], TypeError, "[1] must be a whole number (i64), not float"),
    ("list_i64", ["7"], TypeError, "[0] must be a whole number (i64), not str"),
    ("list_i64", np.array([1.5]), TypeError, "is an array of int64, and this one is of float64"),
    ("list_i64", np.array(["7"]), TypeError, "is an array of int64"),
    ("list_i64", np.array([1], dtype=object), TypeError, "is an array of int64, and this one is of object"),
    ("list_i64", array.array("d", [1]), TypeError, "is values of i64"),
    ("list_i64", np.ones((2, 2), dtype=np.int64), ValueError, "has 1 dimension, and this array has 2"),
    ("array_i64", [1.9], TypeError, "[0] must be a whole number (i64), not float"),
    ("array_i64", (ctypes.c_uint64 * 1)(1), TypeError, "is values of i64"),
    ("array_i64", (ctypes.c_int64.__ctype_be__ * 1)(1), TypeError, "is values of i64"),
    ("array_i64", ((ctypes.c_int64 * 2) * 2)(), ValueError, "has 1 dimension"),
    ("array_i64", np.array(5), ValueError, "has 1 dimension, and this array has 0"),
    ("array_i64", np.int64(5), ValueError, "has 1 dimension, and this array has 0"),
    ("array_i64", np.ma.array([1, 2], mask=[0, 1]), TypeError, "has no place for a mask"),
    ("array_f32", [1e39], OverflowError, "[0] is f32, and 1e+39 is out of its range"),
    ("array_f32", np.array([1.0]), TypeError, "is an array of float32, and this one is of float64"),
    ("array_bool", [1], TypeError, "[0] must be a bool, not int"),
    ("array_bool", np.array([2], dtype=np.uint8).view(np.bool_), ValueError, "bool is 2, and bool has no such value"),
    ("array_enum", [int.__new__(Side, 99)], ValueError, "Side is 99, and Side has no such value"),
    ("array_enum", [1], TypeError, "[0] must be a Side, not int"),
    ("array_enum", np.array([1], dtype=np.uint8), TypeError, "is values of Side"),
    ("array_point", [(1.0, 2.0)], TypeError, "[0] must be a Point, not tuple"),
    ("array_point", [Twin(x=1.0, y=2.0)], TypeError, "[0] must be a Point, not Twin"),
    ("array_point", np.zeros(1, dtype=SWAPPED), TypeError, "use astype"),
    ("array_order", np.zeros(1, dtype=Order.dtype), ValueError, "side is 0, and Side has no such value"),
    ("list_str", "abc", TypeError, "must be a sequence of values, not str"),
    ("list_str", ["a", 1], TypeError, "[1] must be text, not int"),
    ("list_str", np.array(["a"]), TypeError, "and this is an array"),
    ("list_named", [Named(name="a"), Point(x=1.0, y=2.0)], TypeError, "[1] must be a Named, not Point"),
    ("nd_i64", [1.9, -2.9], TypeError, "[0] must be a whole number (i64), not float"),
    ("nd_i64", ["7", "8"], TypeError, "[0] must be a whole number (i64), not str"),
    ("nd_i64", np.array([1.9]), TypeError, "is an array of int64, and this one is of float64"),
    ("nd_i64", np.array([1], dtype=">i8"), TypeError, "use astype"),
    ("nd_i64", np.array([1], dtype=object), TypeError, "this one is of object"),
    ("nd_i64", np.ones((2, 1), dtype=np.int64), ValueError, "has 1 dimension, and this array has 2"),
    ("nd_i64", np.array(5), ValueError, "has 1 dimension, and this array has 0"),
    ("nd_i64", np.ma.array([1, 2], mask=[0, 1]), TypeError, "has no place for a mask"),
    ("nd_i64", array.array("d", [1.9, -2.9]), TypeError, "is values of i64"),
    ("nd_i64", "12", TypeError, "must be a sequence of values, not str"),
    ("nd_f32", [math.inf, 1e39], OverflowError, "[1] is f32, and 1e+39 is out of its range"),
    ("nd_bool", ["False", ""], TypeError, "[0] must be a bool, not str"),
    ("nd_point", np.zeros(1, dtype=SWAPPED), TypeError, "use astype"),
    ("nd_point", [(1.0, 2.0)], TypeError, "[0] must be a Point, not tuple"),
    ("image", IMAGE[0], ValueError, "has 2 dimensions, and this array has 1"),
    ("image", IMAGE[None], ValueError, "has 2 dimensions, and this array has 3"),
    ("image", np.float32(1), ValueError, "has 2 dimensions, and this array has 0"),
    ("image", IMAGE.astype(np.float64), TypeError, "is an array of float32, and this one is of float64: use astype"),
    ("image", IMAGE.astype(">f4"), TypeError, "use astype"),
    ("image", IMAGE.astype(np.float16), TypeError, "use astype"),
    ("image", np.array([["a"]]), TypeError, "use astype"),
    ("image", IMAGE.astype(object), TypeError, "this one is of object"),
    ("image", np.ma.array(IMAGE, mask=IMAGE > 2), TypeError, "has no place for a mask"),
    ("image", [1.0], TypeError, "[0] must be a sequence of values, not float"),
    ("image", 1.0, TypeError, "must be a sequence of values, not float"),
    ("image", "ab", TypeError, "must be a sequence of values, not str"),
    ("image", b"ab", TypeError, "must be a sequence of values, not bytes"),
    ("image", {1.0}, TypeError, "must be a sequence of values, not set"),
    ("image", [[1.0], [1.0, 2.0]], ValueError, "[1] has 2 values, and those before it have 1"),
    ("image", [[1.0, "x"]], TypeError, "[0][1] must be a number (f32), not str"),
    ("image", [[1e39]], OverflowError, "is f32, and 1e+39 is out of its range"),
    ("image", [[[1.0]]], TypeError, "[0][0] must be a number (f32), not list"),
    ("image", Exporter(IMAGE, (2, 1)), ValueError, "and this Exporter lies on the device (2, 1) of DLPack"),
    ("image", Exporter(BufferError("no export of a tensor with grad")), ValueError, "through DLPack: no export of"),
    ("image", Exporter(IMAGE[0]), ValueError, "has 2 dimensions, and this array has 1"),
    ("image", Exporter(IMAGE.astype(np.float64)), TypeError, "use astype"),
    ("cube", [[[256]]], OverflowError, "[0][0][0] is u8, from 0 to 255, and 256 is out of that range"),
    ("images", IMAGE, TypeError, "is a list of a tensor of f32 in 2 dimensions, and this is an array; pass a list"),
    ("maybe_image", [[None]], TypeError, "[0][0] must be a number (f32), not NoneType"),
    ("four", [1.0], ValueError, "must be 4 values, and 1 were given"),
    ("four", np.arange(3.0), ValueError, "must be 4 values, and 3 were given"),
    ("option", 256, OverflowError, "is out of that range"),
]


def named(rows: list[Any]) -> list[str]:
    return [f"{at}-{row[0]}" for at, row in enumerate(rows)]


@pytest.mark.parametrize(("hint", "value", "expected"), TAKEN, ids=named(TAKEN))
def test_values_that_are_taken(ways: Callable[[str], Ways], hint: str, value: object, expected: object) -> None:
    for way in ways(hint):
        found = way(value)
        assert found == expected, way
        assert type(found) is type(expected)


@pytest.mark.parametrize(("hint", "value", "error", "text"), REFUSED, ids=named(REFUSED))
def test_values_that_are_refused(
    ways: Callable[[str], Ways], hint: str, value: object, error: type[Exception], text: str
) -> None:
    all_ways = ways(hint)
    for way in all_ways:
        with pytest.raises(BadReplyError if way == all_ways.reply else error) as raised:
            way(value)
        assert text in str(raised.value), way


def test_nan_stays_nan() -> None:
    for hint in ("f64", "f32"):
        made = _Holder(hint).struct(value=NAN, other="")
        assert math.isnan(made.value)


def test_series_are_arrays_of_their_type() -> None:
    class Series:
        """As a series of pandas: indices are labels, and numpy gets the whole."""

        def __init__(self, values: Any) -> None:
            self.values = values

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return self.values

        def __len__(self) -> int:
            return len(self.values)

        def __getitem__(self, label: str) -> Any:
            return {"a": 9}[label]

    made = _Holder("nd_i64").struct(value=Series(np.array([1, 2])), other="")
    assert made.value.tolist() == [1, 2]
    for hint in ("nd_i64", "array_i64", "list_i64"):
        with pytest.raises(TypeError, match="use astype"):
            _Holder(hint).struct(value=Series(np.array([1.9])), other="")


def test_numpy_that_is_just_being_imported_has_no_values(service: Callable[..., Peer]) -> None:
    shown = service("half_imported_numpy").join().splitlines()
    assert shown == [
        "Held.a must be a whole number (u64), not str",
        "Held.b must be a number (f64), not str",
        "Held.c must be a bool, not str",
        "[3]",
        "[3]",
    ]


def test_an_option_of_an_option_is_one() -> None:
    held = _Holder("option")
    for hint in (Annotated[tachyon.u8 | None, "a note"] | None, Annotated[Annotated[tachyon.u8, 1] | None, ""]):
        made: Any = type(tachyon.Struct)("Alone", (tachyon.Struct,), {"__annotations__": {"value": hint}})
        for value in (3, None):
            assert bytes(made(value=value)) == bytes(held.alone(value=value))
            assert made.from_bytes(bytes(made(value=value))).value == value


def test_a_plan_that_is_misused_is_an_error() -> None:
    plan = layout(Array[tachyon.u32], "x").plan
    for of in (99, 2):
        with pytest.raises(SystemError, match="differ"):
            Items(memoryview(bytearray(16)), 0, 16, "I", plan, of)
    for wrong in (plan, Named.__layout__.plan):
        with pytest.raises(SystemError, match="differ"):
            wrong.encode_fields([])


def _listening(pool: ThreadPoolExecutor, path: str) -> str:
    pool.submit(RpcBus.listen, path, 1 << 16, 1 << 16)
    return path


def test_places_are_named_to_the_last_index(path: str) -> None:
    class Cloud(tachyon.Struct):
        points: list[Point]
        clouds: list[Named]

    points = [Point(x=0.0, y=0.0) for _ in range(3)]
    with pytest.raises(TypeError, match=r"^Cloud\.points\[3\] must be a Point, not tuple$"):
        Cloud(points=[*points, (1, 2)], clouds=[])  # type: ignore[list-item]

    @tachyon_rpc(1)
    def measure(cloud: Cloud, gains: list[list[tachyon.u8]]) -> None: ...

    cloud = Cloud(points=points, clouds=[Named(name="")])
    # The Struct owns its list, whose wrong values show when the Struct is sent.
    cloud.points[1] = 7  # type: ignore[call-overload]
    with ThreadPoolExecutor(1) as pool, RpcBus.connect(_listening(pool, path)) as bus:
        with pytest.raises(TypeError, match=r"^measure: cloud\.points\[1\] must be a Point, not int$"):
            measure.call(bus, cloud, [])
        cloud.points[1] = Point(x=0.0, y=0.0)
        with pytest.raises(TypeError, match=r"^measure: gains\[1\]\[2\] must be a whole number \(u8\), not float$"):
            measure.call(bus, cloud, [[1], [2, 3, 3.0]])  # type: ignore[list-item]


def test_a_sequence_that_lies_about_its_length() -> None:
    class Endless(collections.UserList[int]):
        def __iter__(self) -> Any:
            while True:
                yield 1

    with pytest.raises(ValueError, match="has not the 2 values that it says"):
        _Holder("list_i64").struct(value=Endless([1, 2]), other="")


def test_values_that_run_code_during_their_conversion() -> None:
    values: list[Any] = []

    class Sly(np.int64):
        def __index__(self) -> int:
            values.clear()
            return 1

    values.extend([Sly(1), Sly(1), Sly(1)])
    with pytest.raises(IndexError):
        _Holder("list_i64").struct(value=values, other="")
