"""Structs: a layout as repr(C), checked assignments, and refused definitions."""

from __future__ import annotations

import copy
import ctypes
import gc
import pickle
from typing import Annotated, Any

import numpy as np
import pytest

import tachyon
from tachyon import Array, BadRequestError
from tachyon.errors import ReleasedError


class Side(tachyon.IntEnum, repr="i8"):
    BUY = -1
    SELL = 1


class Level(tachyon.Struct):
    price: tachyon.f64
    size: tachyon.u32
    _pad: Annotated[bytes, 4] = tachyon.pad()


class Order(tachyon.Struct):
    """A Struct with a field of every kind."""

    instrument: tachyon.u64
    best: Level
    levels: Annotated[Array[tachyon.f64], 2]
    small: tachyon.i16 = -3
    note: Annotated[str, 3] = "ä"
    key: Annotated[bytes, 2] = b"k\0"
    live: tachyon.bool = True
    side: Side = Side.SELL
    sides: Annotated[Array[Side], 2] = (Side.BUY, Side.SELL)  # type: ignore[assignment]
    class_: tachyon.u8 = 7
    rest: Annotated[Array[Annotated[Array[tachyon.u16], 2]], 1] = ((1, 2),)  # type: ignore[assignment]


def order(**fields: Any) -> Order:
    return Order(**{"instrument": 1, "best": Level(price=1.5, size=2), "levels": [3.0, 4.0]} | fields)


def test_fields_lie_where_c_puts_them() -> None:
    kinds = {"u8": ctypes.c_uint8, "u16": ctypes.c_uint16, "u32": ctypes.c_uint32, "u64": ctypes.c_uint64}
    kinds |= {"i8": ctypes.c_int8, "i16": ctypes.c_int16, "i32": ctypes.c_int32, "i64": ctypes.c_int64}
    kinds |= {"f32": ctypes.c_float, "f64": ctypes.c_double, "bool": ctypes.c_bool}
    ordered = sorted(kinds, key=lambda name: -ctypes.sizeof(kinds[name]))
    hints = {f"x_{name}": getattr(tachyon, name) for name in ordered}
    values = {f"x_{name}": True if name == "bool" else 100 + at for at, name in enumerate(ordered)}
    size = sum(ctypes.sizeof(kind) for kind in kinds.values())
    hints["_pad"] = Annotated[bytes, -size % 8]
    made: Any = type(tachyon.Struct)("Numbers", (tachyon.Struct,), {"__annotations__": hints, "__module__": __name__})
    c: Any = type("C", (ctypes.Structure,), {"_fields_": [(f"x_{name}", kinds[name]) for name in ordered]})
    assert bytes(made(**values)) == bytes(c(**values))
    assert made.dtype.itemsize == ctypes.sizeof(c)


def test_values_come_back() -> None:
    found = order()
    assert (found.instrument, found.best.size, found.levels, found.small) == (1, 2, [3.0, 4.0], -3)
    assert (found.note, found.key, found.live, found.side) == ("ä", b"k\0", True, Side.SELL)
    assert (list(found.sides), found.class_, found.rest) == ([Side.BUY, Side.SELL], 7, [[1, 2]])
    assert repr(Level(price=1.0, size=2)) == "Level(price=1.0, size=2)"


def test_nested_values_are_changed_in_place() -> None:
    found = order()
    found.best.size = 9
    found.levels[-1] = 8.0
    found.rest[0][1] = 5
    assert (found.best.size, found.levels[:], found.rest) == (9, [3.0, 8.0], [[1, 5]])
    found.best = Level(price=0.0, size=1)
    assert found.best == Level(price=0.0, size=1)
    found.levels = found.levels[::-1]
    assert found.levels == [8.0, 3.0]


@pytest.mark.parametrize(
    ("field", "value", "error", "text"),
    [
        ("instrument", -1, OverflowError, "Order.instrument is u64, from 0 to 18446744073709551615, and -1"),
        ("instrument", 1.0, TypeError, "Order.instrument must be a whole number (u64), not float"),
        ("small", 1 << 15, OverflowError, "Order.small is i16, from -32768 to 32767"),
        ("live", 1, TypeError, "Order.live must be a bool, not int"),
        ("side", 1, TypeError, "Order.side must be a Side, not int"),
        ("note", "äää", ValueError, "Order.note holds 3 bytes of UTF-8"),
        ("note", b"x", TypeError, "Order.note must be text, not bytes"),
        ("note", "a\0", ValueError, "cannot end in one"),
        ("key", b"x", ValueError, "Order.key must be 2 bytes, and 1 were given"),
        ("key", "xx", TypeError, "Order.key must be 2 bytes, not str"),
        ("levels", [1.0], ValueError, "Order.levels must be 2 values, and 1 were given"),
        ("levels", [1.0, "x"], TypeError, "Order.levels[1] must be a number (f64), not str"),
        ("levels", "xx", TypeError, "Order.levels must be a sequence of values, not str"),
        ("best", order(), TypeError, "Order.best must be a Level, not Order"),
        ("sides", [Side.BUY, 2], TypeError, "Order.sides[1] must be a Side, not int"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_changes_nothing(
    field: str, value: object, error: type[Exception], text: str
) -> None:
    found = order(instrument=77)
    before = bytes(found)
    with pytest.raises(error) as raised:
        setattr(found, field, value)
    assert text in str(raised.value)
    assert bytes(found) == before


def test_constructors_name_missing_and_unknown_fields() -> None:
    with pytest.raises(TypeError, match="Level needs a value for `price`, `size`"):
        Level()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Level has no field `prize`; it has price, size"):
        Level(price=1.0, size=1, prize=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Level has no field `_pad`"):
        Level(price=1.0, size=1, _pad=b"1234")
    with pytest.raises(AttributeError, match="prize"):
        Level(price=1.0, size=1).prize = 2  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="Struct has no fields"):
        tachyon.Struct()


def make(**hints: Any) -> None:
    type(tachyon.Struct)("Made", (tachyon.Struct,), {"__annotations__": hints, "__module__": __name__})


@pytest.mark.parametrize(
    ("hints", "text"),
    [
        ({"a": tachyon.u8, "b": tachyon.u32}, "a gap of 3 bytes at offset 1, before field `b`"),
        ({"a": tachyon.u32, "b": tachyon.u8}, "a gap of 3 bytes at offset 5, at the end"),
        ({"a": tachyon.u8, "b": tachyon.u16}, "`_pad: Annotated[bytes, 1] = tachyon.pad()`"),
        ({"a": int}, "field `a` of Made: int does not say how it lies in memory; write tachyon.i64"),
        ({"a": float}, "write tachyon.f64"),
        ({"a": Annotated[Array[str], 2]}, "field `a` of Made, each: str has no fixed size; write Annotated[str, 16]"),
        ({"a": Array[str]}, "field `a` of Made, each: str has no fixed size"),
        ({"a": list[int]}, "field `a` of Made, each: int does not say how it lies in memory; write tachyon.i64"),
        ({"a": list[tachyon.u8 | None]}, "values of a list are there"),
        ({"a": tachyon.u8 | bytes}, "is no one type; write one, or one and None"),
        ({"a": str, "_b": tachyon.u8}, "a Struct without a fixed size has no padding"),
        ({"a": Annotated[Array[int], 3]}, "field `a` of Made, each: int does not say"),
        ({"a": Annotated[bytes, 0]}, "a length is a number from 1 up, not 0"),
        ({"a": object}, "field `a` of Made: object cannot travel"),
        ({"a": "Nowhere"}, "the hint 'Nowhere' cannot be resolved"),
        ({"copy": tachyon.u8}, "call it `copy_`, which travels as `copy`"),
        ({}, "Made has no fields"),
    ],
)
def test_types_without_a_layout_are_refused_by_name(hints: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError) as raised:
        make(**hints)
    assert text in str(raised.value)


def test_structs_are_not_extended_and_padding_is_named_so() -> None:
    with pytest.raises(TypeError, match="a Struct is not extended; make a Level one of its fields"):
        type(tachyon.Struct)("More", (Level,), {"__annotations__": {"a": tachyon.u8}, "__module__": __name__})
    with pytest.raises(TypeError, match="begins with an underscore"):

        class Unnamed(tachyon.Struct):
            pad: Annotated[bytes, 4] = tachyon.pad()


def test_enums_say_how_they_travel() -> None:
    with pytest.raises(TypeError, match="has no number type"):

        class Silent(tachyon.IntEnum):
            A = 1

    with pytest.raises(OverflowError, match=r"Large.A is u8, from 0 to 255"):

        class Large(tachyon.IntEnum, repr="u8"):
            A = 256

    with pytest.raises(TypeError, match="one of u8 to u64"):

        class Odd(tachyon.IntEnum, repr="f32"):  # type: ignore[arg-type]
            A = 1


def test_copies_pickles_and_comparisons() -> None:
    found = order()
    for other in (found.copy(), copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert other == found
        assert type(other) is Order
        other.best.size = 99
        assert other != found
    assert pickle.loads(pickle.dumps(found.levels)) == [3.0, 4.0]
    assert Level(price=1.0, size=1) != 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(found)


def test_bytes_are_checked() -> None:
    data = bytearray(order())
    assert Order.from_bytes(data) == order()
    with pytest.raises(BadRequestError, match=f"1 bytes came, and Order has {len(data)}"):
        Order.from_bytes(b"x")
    data[Order.dtype.fields["side"][1]] = 5
    with pytest.raises(BadRequestError, match=r"Order.side is 5, and Side has no such value"):
        Order.from_bytes(data)
    data = bytearray(order())
    data[Order.dtype.fields["live"][1]] = 2
    with pytest.raises(BadRequestError, match=r"Order.live is 2, and bool has no such value"):
        Order.from_bytes(data)
    data = bytearray(order())
    data[Order.dtype.fields["note"][1]] = 0xFF
    with pytest.raises(BadRequestError, match=r"Order.note is no UTF-8"):
        Order.from_bytes(data)


def test_numpy_sees_the_same_memory() -> None:
    found = order()
    seen = np.frombuffer(found, dtype=Order.dtype)
    assert (seen["instrument"][0], seen["best"]["price"][0]) == (1, 1.5)
    levels = np.asarray(found.levels)
    assert levels.dtype == np.float64
    levels[0] = 6.0
    assert found.levels[0] == 6.0
    assert seen["levels"][0, 0] == 6.0


def test_a_view_ends_with_its_memory() -> None:
    memory = memoryview(bytearray(order()))
    from tachyon._struct import _view  # noqa: PLC0415

    found = _view(Order, memory, 0, Order.__layout__.plan.size)
    nested, levels = found.best, found.levels
    memory.release()
    for look in (
        lambda: found.instrument,
        lambda: found.side,
        lambda: found.best,
        lambda: nested.price,
        lambda: levels[0],
        found.copy,
        lambda: bytes(levels),
    ):
        with pytest.raises(ReleasedError):
            look()
    with pytest.raises(ReleasedError):
        found.instrument = 1
    assert "over" in repr(found)


def test_structs_leave_nothing_behind() -> None:
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(100):
        order().best.size = 1
    gc.collect()
    assert len(gc.get_objects()) < before + 50
