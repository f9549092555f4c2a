"""Structs and enums where Python expects a data class: match, repr, signature, replace, copy, pickle."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys
from typing import TYPE_CHECKING, Annotated, Any

import cloudpickle  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
import pytest

import tachyon
from tachyon import Array, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Peer


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


def test_fields_are_matched_by_position_and_by_name() -> None:
    assert Point.__match_args__ == ("x", "side", "y")
    match Point(x=1.0):
        case Point(x, Side.SELL, y=y):  # type: ignore[misc]
            assert (x, y) == (1.0, 2.0)
        case _:
            pytest.fail("no match")


def test_a_class_may_define_its_match_args() -> None:
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
def test_fields_of_every_kind_are_compared(field: str, value: object, other: object) -> None:
    one, same, another = (Held(**{field: held}) for held in (value, value, other))  # type: ignore[arg-type]
    assert (one == same, one == another, another == one) == (True, False, False)


def test_a_field_may_have_the_name_of_an_attribute_of_arrays() -> None:
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
    # The constructor made one, the other came from a head without fields.
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
    with pytest.raises(TypeError, match=r"Point.x must be a number \(f64\), not str"):
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


def test_cloudpickle_carries_classes_of_main_to_another_process(service: Callable[..., Peer], tmp_path: Path) -> None:
    file = str(tmp_path / "made.pkl")
    service("pickled_classes", at=file).join()
    lines = service("unpickled_classes", at=file).join().splitlines()
    assert lines[0].startswith("(*, levels: ")
    assert "side: __main__.Side = <Side.SELL: 2>" in lines[0]
    assert lines[1].startswith("Order.note holds 6 bytes of UTF-8")
    assert lines[2] == "note is a field of every Order; set it on an instance"
    assert "'kind': 'enum', 'name': 'Side', 'doc': 'A direction.', 'repr': 'u16'" in lines[3]
    assert "'name': 'class', 'type': 'u32', 'offset': 28" in lines[3]


def test_incomplete_classes_are_refused() -> None:
    bare = type(tachyon.Struct)("Bare", (tachyon.Struct,), {})
    assert not hasattr(bare, "__layout__")
    with pytest.raises(TypeError, match="Struct has no fields"):
        bare()
    with pytest.raises(TypeError, match="parameter `x` of f: Bare cannot travel"):

        @tachyon_rpc(1)
        def f(x: bare) -> None: ...  # type: ignore[valid-type]

    with pytest.raises(TypeError, match="Silent has no number type"):
        tachyon.IntEnum("Silent", {"A": 1})


def test_a_package_that_is_imported_anew_uses_its_own_classes(service: Callable[..., Peer]) -> None:
    assert service("imported_anew").join() == "done\n"


def test_a_struct_can_be_inspected_without_numpy(service: Callable[..., Peer]) -> None:
    shown = service("without_numpy").join()
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
