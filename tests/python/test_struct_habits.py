"""Structs and enums as a user of dataclasses knows them: matched, shown, replaced, pickled, looked at."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated, Any

import cloudpickle  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
import pytest

import tachyon
from tachyon import Array, tachyon_rpc

if TYPE_CHECKING:
    from pathlib import Path


class Side(tachyon.IntEnum, repr="i8"):
    BUY = -1
    SELL = 1


class Point(tachyon.Struct):
    """A place."""

    x: tachyon.f64
    _pad: Annotated[bytes, 7] = tachyon.pad()
    side: Side = Side.SELL
    y: tachyon.f64 = 2.0


@tachyon_rpc(1)
def endpoint(point: Point) -> Point:
    return point


def run(code: str, *arguments: object) -> str:
    """Run a script in an interpreter of its own, which must end well, and return what it printed."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code, *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


def test_fields_are_matched_by_position_and_by_name() -> None:
    assert Point.__match_args__ == ("x", "side", "y")
    match Point(x=1.0):
        case Point(x, Side.SELL, y=y):  # type: ignore[misc]
            assert (x, y) == (1.0, 2.0)
        case _:
            pytest.fail("no match")


def test_a_class_may_say_itself_what_is_matched() -> None:
    class Sized(tachyon.Struct):
        __match_args__ = ("size",)  # type: ignore[misc]
        price: tachyon.u32
        size: tachyon.u32

    match Sized(price=1, size=2):
        case Sized(size):  # type: ignore[misc]
            assert size == 2


def test_the_signature_shows_keywords_hints_and_defaults() -> None:
    shown = inspect.signature(Point).parameters
    assert list(shown) == ["x", "side", "y"]
    assert {each.kind for each in shown.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert [each.default for each in shown.values()] == [inspect.Parameter.empty, Side.SELL, 2.0]
    assert shown["side"].annotation is Side
    assert "Annotated[float, tachyon.f64], side: " in str(inspect.signature(Point))
    assert "fields" in inspect.signature(tachyon.Struct).parameters


class Held(tachyon.Struct):
    array: npt.NDArray[np.float64] | None = None
    view: memoryview | None = None
    arrays: list[npt.NDArray[np.float64]] = []  # noqa: RUF012
    point: Point | None = None


class Shaped(tachyon.Struct):
    shape: str = ""


class Holds(tachyon.Struct):
    shaped: Shaped


@pytest.mark.parametrize(
    ("field", "value", "other"),
    [
        ("array", [1.0, 2.0], [1.0, 3.0]),
        ("array", [1.0, 2.0], [1.0]),
        ("array", [1.0], None),
        ("array", [1.0, 2.0], None),
        ("view", b"ab", b"ac"),
        ("view", b"ab", None),
        ("arrays", [[1.0, 2.0]], [[1.0, 3.0]]),
        ("arrays", [[1.0, 2.0]], []),
        ("point", Point(x=1.0), Point(x=2.0)),
        ("point", Point(x=1.0), None),
    ],
)
def test_whatever_a_field_holds_is_compared(field: str, value: object, other: object) -> None:
    one, same, another = (Held(**{field: held}) for held in (value, value, other))  # type: ignore[arg-type]
    assert (one == same, one == another, another == one) == (True, False, False)


def test_a_field_may_be_called_as_what_an_array_has() -> None:
    assert Holds(shaped=Shaped(shape="x")) == Holds(shaped=Shaped(shape="x"))
    assert Holds(shaped=Shaped(shape="x")) != Holds(shaped=Shaped(shape="y"))


class Grown(tachyon.Struct, extensible=True):
    n: tachyon.u32


def test_defaults_are_copies() -> None:
    theirs, ones, letters = Grown(n=1), np.ones(2), ["a"]

    class Defaults(tachyon.Struct):
        grown: Grown = theirs
        array: npt.NDArray[np.float64] = ones
        tags: list[str] = letters
        maybe: Grown | None = theirs

    theirs.n, ones[:], letters[:] = 99, 7, ["b"]
    wanted = Defaults(grown=Grown(n=1), array=np.ones(2), tags=["a"], maybe=Grown(n=1))
    first = Defaults()
    assert first == wanted
    first.grown.n, first.array[:], first.tags[:] = 99, 7, ["b"]
    # One was made here, the other of a head that has no fields.
    assert Defaults() == Defaults.from_bytes(b"\4\0\0\0") == wanted


def test_fields_by_position_are_refused_with_advice() -> None:
    for kind, shown in ((Point, "Point(x=..., side=..., y=...)"), (Grown, "Grown(n=...)")):
        made: Any = kind
        with pytest.raises(TypeError) as raised:
            made(1.0)
        assert str(raised.value) == f"{kind.__name__} takes its fields by name: {shown}"


def test_replace_copies() -> None:
    point = Point(x=1.0)
    other = point.replace(y=5.0)
    assert (point.y, other.x, other.y, other.side) == (2.0, 1.0, 5.0, Side.SELL)
    assert type(point).__replace__(point, x=3.0) == Point(x=3.0)  # type: ignore[attr-defined]
    if sys.version_info >= (3, 13):
        assert copy.replace(point, x=3.0) == Point(x=3.0)
    with pytest.raises(TypeError, match="Point has no field `z`; it has x, side, y"):
        point.replace(z=1)
    with pytest.raises(TypeError, match="Point has no field `_pad`"):
        point.replace(_pad=b"1234567")
    with pytest.raises(TypeError, match=r"Point.x is a number \(f64\), not str"):
        point.replace(x="1")


def test_copies_and_pickles_are_equal() -> None:
    point = Point(x=1.0)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(point, protocol)) == point
    for other in (copy.copy(point), copy.deepcopy(point), cloudpickle.loads(cloudpickle.dumps(point))):
        assert other == point
        assert type(other) is Point
    assert pickle.loads(pickle.dumps(tachyon.u8)) == tachyon.u8


def test_endpoints_pickle_by_name_like_functions() -> None:
    assert pickle.loads(pickle.dumps(endpoint)) is endpoint
    assert copy.copy(endpoint) is copy.deepcopy(endpoint) is endpoint
    assert copy.deepcopy({"serve": endpoint}) == {"serve": endpoint}

    @tachyon_rpc(2)
    def local(payload: bytes) -> bytes:
        return payload

    with pytest.raises((pickle.PicklingError, AttributeError), match=r"local"):
        pickle.dumps(local)


MADE = """
import sys, cloudpickle
from typing import Annotated
import tachyon
from tachyon import Array

class Side(tachyon.IntEnum, repr="u16"):
    '''Which way.'''
    BUY = 1
    SELL = 2

class Level(tachyon.Struct):
    price: tachyon.f64

class Order(tachyon.Struct):
    '''An order.'''
    levels: Annotated[Array[Level], 2]
    note: Annotated[str, 6]
    side: Side = Side.SELL
    _pad: Annotated[bytes, 0 + 4] = tachyon.pad()
    class_: tachyon.u32 = 7

    def best(self):
        return max(level.price for level in self.levels)

order = Order(levels=[Level(price=1.0), Level(price=3.0)], note="hi")
again, side = cloudpickle.loads(cloudpickle.dumps((order, Side.BUY)))
# In the same process both classes are the ones that there are.
assert type(again) is Order and again == order and side is Side.BUY
Order(levels=order.levels, note="")
with open(sys.argv[1], "wb") as file:
    cloudpickle.dump((order, Order, Side, [Side.BUY], {Level: 1}), file)
"""

TAKEN = """
import inspect, pickle, sys
with open(sys.argv[1], "rb") as file:
    data = file.read()
order, Order, Side, sides, levels = pickle.loads(data)
import tachyon
assert type(order) is Order and order.best() == 3.0 and Order.__doc__ == "An order."
assert sides == [Side.BUY] and sides[0] is Side.BUY
(Level,) = levels
other = Order(levels=[Level(price=0.0), Level(price=0.5)], note="x").replace(side=Side.BUY, class_=1)
assert (other.side, other.class_, other.best(), order.class_) == (Side.BUY, 1, 0.5, 7)
assert Order.from_bytes(bytes(order)) == order
print(inspect.signature(Order))
try:
    order.note = "too long"
except ValueError as error:
    print(error)
try:
    Order.note = 1
except AttributeError as error:
    print(error)

@tachyon.tachyon_rpc(1)
def endpoint(order: Order) -> Side:
    return order.side

# A class that comes once more is the same, and so is all that was made of it.
again = pickle.loads(data)
assert again[1] is Order and again[0] == order
from tachyon._layout import Types
types = Types()
Order.__layout__.describe(types)
print(types.list)
"""


def test_cloudpickle_carries_classes_of_main_to_another_process(tmp_path: Path) -> None:
    file = tmp_path / "made.pkl"
    run(MADE, file)
    lines = run(TAKEN, file).splitlines()
    assert lines[0].startswith("(*, levels: ")
    assert "side: __main__.Side = <Side.SELL: 2>" in lines[0]
    assert lines[1].startswith("Order.note holds 6 bytes of UTF-8")
    assert lines[2] == "note is a field of every Order; set it on an instance"
    assert "'kind': 'enum', 'name': 'Side', 'doc': 'Which way.', 'repr': 'u16'" in lines[3]
    assert "'name': 'class', 'type': 'u32', 'offset': 28" in lines[3]


def test_what_a_class_by_value_consists_of_is_refused_as_at_home() -> None:
    bare = type(tachyon.Struct)("Bare", (tachyon.Struct,), {})
    assert not hasattr(bare, "__layout__")
    with pytest.raises(TypeError, match="Struct has no fields"):
        bare()
    with pytest.raises(TypeError, match="parameter `x` of f: Bare cannot travel"):

        @tachyon_rpc(1)
        def f(x: bare) -> None: ...  # type: ignore[valid-type]

    with pytest.raises(TypeError, match="Silent has no number type"):
        tachyon.IntEnum("Silent", {"A": 1})


ANEW = """
import asyncio, sys, tempfile, threading
import tachyon

def listen():
    tachyon.RpcBus.listen(tempfile.mkdtemp() + "/s", 4096, 4096, timeout=0)

def expect(error, function, *arguments):
    try:
        function(*arguments)
    except error:
        return
    raise SystemExit(f"{error} was not raised")

expect(tachyon.TimedOutError, listen)
old = tachyon
for _ in range(3):
    for name in [name for name in sys.modules if name.partition(".")[0] == "tachyon"]:
        del sys.modules[name]
    import tachyon
    assert tachyon.TimedOutError is not old.TimedOutError
    expect(tachyon.TimedOutError, listen)
    expect(tachyon.errors.InvalidArgumentError, tachyon.Bus.listen, "/tmp/never", 3)

    class Point(tachyon.Struct):
        x: tachyon.u64

    @tachyon.tachyon_rpc(1)
    def picky(point: Point) -> Point:
        if point.x == 0:
            raise tachyon.BadRequestError("not nothing")
        return point.replace(x=point.x + 1)

    path = tempfile.mkdtemp() + "/s"
    dispatcher = tachyon.RpcDispatcher().register(picky)
    with tachyon.RpcServer(path) as server:
        thread = threading.Thread(target=dispatcher.serve_forever, args=(server,))
        thread.start()
        with tachyon.RpcBus.connect(path) as bus:
            assert picky.call(bus, Point(x=1)) == Point(x=2)
            assert type(bus.describe()) is tachyon.Description
            try:
                picky.call(bus, Point(x=0))
            except tachyon.RpcError as error:
                assert error.kind is tachyon.ErrorKind.BAD_REQUEST, error
            expect(tachyon.NoHandlerError, tachyon.tachyon_rpc(9)(lambda payload: payload).call, bus, b"")
        with tachyon.RpcBus.connect(path) as bus:
            async def ask():
                assert await picky.acall(bus, Point(x=3)) == Point(x=4)
                try:
                    await picky.acall(bus, Point(x=0))
                except tachyon.RpcError as error:
                    assert error.kind is tachyon.ErrorKind.BAD_REQUEST, error
            asyncio.run(ask())
        server.stop()
        thread.join()
print("done")
"""


def test_a_package_that_is_imported_anew_raises_and_makes_its_own() -> None:
    quiet = "import logging\nlogging.disable()\n"
    assert run(quiet + ANEW) == "done\n"


WITHOUT_NUMPY = """
import inspect, pydoc, sys
sys.modules["numpy"] = None
import tachyon

class Point(tachyon.Struct):
    x: tachyon.u32

for looked in (Point, Point(x=1)):
    assert not hasattr(looked, "dtype")
    assert "x" in dir(looked)
    assert dict(inspect.getmembers(looked))["copy"]
    assert "copy" in pydoc.render_doc(looked)
try:
    Point.dtype
except AttributeError as error:
    print(error)
"""


def test_a_struct_can_be_looked_at_without_numpy() -> None:
    shown = run(WITHOUT_NUMPY)
    assert shown.startswith("Point.dtype needs numpy, which cannot be imported (")
    assert shown.endswith("; install numpy\n")


def test_a_struct_needs_no_class_statement() -> None:
    kind: Any = type(tachyon.Struct)
    made = kind("Made", (tachyon.Struct,), {"__annotations__": {"x": tachyon.u32}, "x": 4})
    assert (made.__module__, made(), made.__layout__.size) == (__name__, made(x=4), 4)
    listed = kind("Listed", (tachyon.Struct,), {"__annotations__": {"x": "Annotated[Array[tachyon.u8], 2]"}})
    assert listed(x=[1, 2]).x == [1, 2]
    assert Array is not None
    for name in ("a b", "", "2"):
        with pytest.raises(TypeError, match="is no name of a Struct"):
            kind(name, (tachyon.Struct,), {"__annotations__": {"x": tachyon.u32}})
