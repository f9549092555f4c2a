"""The contract of `tests/src/contract.rs` in Python: the same endpoints, by name, number and type.

`ROLE PATH [SIZE]` serves the endpoints of a role, as the program `contract` does in Rust.
"""

import logging
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import numpy as np

import tachyon
from tachyon import Array, current_call, tachyon_rpc


class Grade(tachyon.IntEnum, repr="u16"):
    Good = 1
    Poor = 700


class Point(tachyon.Struct):
    x: tachyon.f32
    y: tachyon.f32


class Mark(tachyon.Struct):
    at: Point
    grade: Grade
    valid: tachyon.bool
    _pad: Annotated[bytes, 5] = tachyon.pad()


class Origin(tachyon.Struct):
    sensor: str
    at: Point
    more: Array[Point] | None = None


class Scan(tachyon.Struct):
    taken_at: tachyon.u64
    frame: str
    points: Array[Point]
    note: str | None
    marks: Array[Mark]
    tags: list[str]
    origin: Origin
    sources: list[Origin]
    rows: list[Array[tachyon.i32]]
    complete: tachyon.bool
    grade: Grade | None = None
    corrected: Origin | None = None


class Frame(tachyon.Struct):
    camera: str
    image: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
    depth: np.ndarray[tuple[int, int, int], np.dtype[np.float32]] | None
    layers: list[np.ndarray[tuple[int, int], np.dtype[np.uint64]]]


class Small(tachyon.Struct):
    flag: tachyon.bool
    grade: Grade
    text: str
    numbers: Array[tachyon.u32]
    names: list[str]
    marks: Array[Mark]
    maybe: Grade | None = None
    inner: Origin | None = None


class Code(tachyon.Struct):
    number: tachyon.u8


class Everything(tachyon.Struct):
    byte: tachyon.u8
    number: tachyon.u64
    flag: tachyon.bool
    grade: Grade
    text: str
    owned: str
    marks: Array[Mark]
    numbers: Array[tachyon.f64]
    texts: list[str]
    rows: list[bytes]
    scan: Scan
    second: Scan
    third: Scan
    scans: list[Scan]
    maybe: str | None
    other: Scan | None
    point: Point
    mark: Mark
    array: Annotated[Array[tachyon.u16], 3]
    name: str
    msg_type: tachyon.u16


class NoSensor(tachyon.EndpointError, text="no sensor {sensor}"):
    sensor: tachyon.u32


class Busy(tachyon.EndpointError, text="busy"):
    pass


class Odd(tachyon.EndpointError, text="{why}"):
    why: str
    origin: Origin | None
    marks: Array[Mark]


class ParseIntError(Exception):
    pass


ScanErrors = (NoSensor, Busy, Odd)


def a_mark() -> Mark:
    return Mark(at=Point(x=0.5, y=-1.0), grade=Grade.Poor, valid=True)


def an_origin(sensor: str = "north", *, more: bool = True) -> Origin:
    points: Any = [Point(x=3.0, y=4.0)] if more else None
    return Origin(sensor=sensor, at=Point(x=1.0, y=2.0), more=points)


def a_small() -> Small:
    return Small(
        flag=True,
        grade=Grade.Good,
        text="grün",
        numbers=[1, 2, 3],
        names=["a", "bc"],
        marks=[a_mark()],
        maybe=Grade.Poor,
        inner=an_origin("n", more=False),
    )


ECHOES: dict[str, Any] = {
    "value_u8": tachyon.u8,
    "value_u16": tachyon.u16,
    "value_u32": tachyon.u32,
    "value_u64": tachyon.u64,
    "value_i8": tachyon.i8,
    "value_i16": tachyon.i16,
    "value_i32": tachyon.i32,
    "value_i64": tachyon.i64,
    "value_f32": tachyon.f32,
    "value_f64": tachyon.f64,
    "value_bool": tachyon.bool,
    "value_enum": Grade,
    "value_array": Annotated[Array[tachyon.u16], 3],
    "value_grid": Annotated[Array[Annotated[Array[tachyon.i8], 2]], 2],
    "value_marks": Annotated[Array[Mark], 2],
    "value_point": Point,
    "value_mark": Mark,
    "lent_u64": tachyon.u64,
    "lent_bool": tachyon.bool,
    "lent_enum": Grade,
    "lent_array": Annotated[Array[tachyon.u16], 3],
    "lent_point": Point,
    "lent_mark": Mark,
    "text": str,
    "owned_text": str,
    "bytes": bytes,
    "owned_bytes": bytes,
    "numbers": Array[tachyon.f64],
    "bools": Array[tachyon.bool],
    "enums": Array[Grade],
    "points": Array[Point],
    "marks": Array[Mark],
    "arrays": Array[Annotated[Array[tachyon.u8], 3]],
    "owned_marks": list[Mark],
    "texts": list[str],
    "owned_texts": list[str],
    "rows": list[Array[tachyon.f32]],
    "owned_rows": list[list[tachyon.bool]],
    "deep_rows": list[list[list[str]]],
    "scan": Scan,
    "owned_scan": Scan,
    "lent_scan": Scan,
    "scans": list[Scan],
    "owned_scans": list[Scan],
    "maybe_u32": tachyon.u32 | None,
    "maybe_bool": tachyon.bool | None,
    "maybe_enum": Grade | None,
    "maybe_array": Annotated[Array[tachyon.u16], 3] | None,
    "maybe_mark": Mark | None,
    "maybe_text": str | None,
    "maybe_owned_text": str | None,
    "maybe_numbers": Array[tachyon.f32] | None,
    "maybe_marks": Array[Mark] | None,
    "maybe_owned_marks": list[Mark] | None,
    "maybe_texts": list[str] | None,
    "maybe_scan": Scan | None,
    "maybe_owned_scan": Scan | None,
    "maybe_scans": list[Scan] | None,
    "maybe_owned_scans": list[Scan] | None,
    "origins": list[Origin],
    "tensor": np.ndarray[tuple[int, int], np.dtype[np.float32]],
    "owned_tensor": np.ndarray[tuple[int, int, int], np.dtype[np.uint8]],
    "tensors": list[np.ndarray[tuple[int], np.dtype[np.int16]]],
    "maybe_tensor": np.ndarray[tuple[int, int, int, int], np.dtype[np.float64]] | None,
    "frame": Frame,
}
"""The endpoints 1 to 65, which send their one argument back."""


def echoes() -> list[Any]:
    def echo(msg_type: int, name: str, hint: Any) -> Any:
        def function(v: Any) -> Any:
            return v

        function.__name__ = function.__qualname__ = name
        function.__annotations__ = {"v": hint, "return": hint}
        return tachyon_rpc(msg_type)(function)

    return [echo(msg_type, name, hint) for msg_type, (name, hint) in enumerate(ECHOES.items(), 1)]


many: list[Any] = []
ledger = 0


def of(table: list[Any], msg_type: int, **settings: Any) -> Callable[[Any], Any]:
    def add(function: Any) -> Any:
        table.append(tachyon_rpc(msg_type, **settings)(function))
        return table[-1]

    return add


def note() -> int:
    global ledger
    ledger += 1
    return ledger


@of(many, 100)
def nothing() -> None:
    note()


@of(many, 101)
def everything(
    byte: tachyon.u8,
    number: tachyon.u64,
    flag: tachyon.bool,
    grade: Grade,
    text: str,
    owned: str,
    marks: Array[Mark],
    numbers: Array[tachyon.f64],
    texts: list[str],
    rows: list[bytes],
    scan: Scan,
    second: Scan,
    third: Scan,
    scans: list[Scan],
    maybe: str | None,
    other: Scan | None,
    point: Point,
    mark: Mark,
    array: Annotated[Array[tachyon.u16], 3],
) -> Everything:
    arguments = dict(locals())
    note()
    call = current_call()
    return Everything(**arguments, name=call.name, msg_type=call.msg_type)


@of(many, 102)
def moved(scan: Scan, by: tachyon.f32, tag: str | None) -> Scan:
    note()
    points = [Point(x=point.x + by, y=point.y + by) for point in scan.points]
    return scan.replace(points=points, tags=["moved" if tag is None else tag])


@of(many, 103, raises=ScanErrors)
def split(text: str, at: Code) -> list[str]:
    if not text:
        raise Busy
    return text.split(chr(at.number))


@of(many, 104)
def add_slowly(a: tachyon.u64, b: tachyon.u64, milliseconds: tachyon.u64) -> tachyon.u64:
    time.sleep(milliseconds / 1000)
    return a + b


@of(many, 105)
def reached() -> tachyon.u64:
    return ledger


@of(many, 106)
def zeros(count: tachyon.u32) -> bytes:
    return bytes(count)


@of(many, 107)
def long_text(count: tachyon.u32, end: str) -> str:
    note()
    return "x" * count + end


@of(many, 108)
def takes_one(value: Small) -> tachyon.u64:
    return note() + len(value.numbers)


@of(many, 109)
def takes_several(
    flag: tachyon.bool,
    grade: Grade,
    text: str,
    marks: Array[Mark],
    rows: list[list[tachyon.bool]],
    value: Small,
    maybe: str | None,
) -> tachyon.u64:
    assert (type(flag), type(grade), type(text), type(value)) == (bool, Grade, str, Small)
    assert all(type(mark) is Mark for mark in marks)
    assert all(type(row) is list for row in rows)
    assert maybe is None or type(maybe) is str
    return note()


@of(many, 130)
def takes_texts(texts: list[str]) -> tachyon.u64:
    return note() + sum(len(text.encode()) for text in texts)


@of(many, 131)
def takes_flags(flags: Array[tachyon.bool]) -> tachyon.u64:
    return note() + len(flags)


@of(many, 132)
def takes_grade(grade: Grade) -> tachyon.u64:
    return note() + grade


@of(many, 133)
def takes_text(text: str) -> tachyon.u64:
    return note() + len(text.encode())


@of(many, 134)
def takes_maybe(number: tachyon.u32 | None) -> tachyon.u64:
    return note() + (number or 0)


@of(many, 135)
def gives_small() -> Small:
    return a_small()


Image: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.float32]]


@of(many, 136)
def transposed(image: Image, by: tachyon.f32) -> Image:
    note()
    assert not image.flags.writeable
    assert image.__array_interface__["data"][0] % 8 == 0
    # In Fortran order.
    return (image * np.float32(by)).T


@of(many, 137)
def takes_tensor(image: np.ndarray[tuple[int, int], np.dtype[np.uint16]]) -> tachyon.u64:
    return note() + int(image.sum())


@of(many, 110, raises=ScanErrors)
def fails(how: tachyon.u32, text: str) -> Scan:
    note()
    if how == 0:
        raise Busy
    if how == 1:
        raise NoSensor(sensor=3)
    if how == 2:
        raise Odd(why=text, origin=None, marks=[])
    if how == 3:
        raise Odd(why=text, origin=an_origin(), marks=[a_mark()])
    if how == 4:
        raise Odd(why=text, origin=None, marks=[a_mark()] * 300)
    raise RuntimeError(text)


@of(many, 111)
def fails_in_words(text: str, times: tachyon.u32) -> tachyon.u32:
    if times:
        raise RuntimeError(text * times)
    return 0


@of(many, 112)
def fails_raw(payload: memoryview) -> bytes:
    raise RuntimeError(bytes(payload).decode())


@of(many, 113)
def parses(text: str, radix: tachyon.u32) -> tachyon.u64:
    try:
        return int(text, radix)
    except ValueError:
        message = "invalid digit found in string"
        raise RuntimeError(message) from None


@of(many, 120)
def shared_text(upper: tachyon.bool) -> str:
    return "TEXT" if upper else "text"


@of(many, 121)
def cow_text(text: str) -> str:
    return text.encode("ascii", "replace").decode()


@of(many, 122)
def cow_marks(marks: Array[Mark]) -> Array[Mark]:
    return marks[:2]  # type: ignore[return-value]


@of(many, 123)
def boxed(points: Array[Point]) -> list[Point]:
    return list(points)


@of(many, 124)
def shared_texts(texts: list[str]) -> list[str]:
    return texts


@of(many, 125)
def constant() -> Annotated[Array[tachyon.u16], 3]:
    return [1, 2, 3]  # type: ignore[return-value]


@of(many, 126, raises=ScanErrors)
def fallible(scan: Scan, take: tachyon.bool) -> Scan | None:
    if not scan.frame:
        raise Busy
    return scan if take else None


class Sensors(tachyon.Service):
    """Sensors, as a service."""

    @tachyon.tachyon_rpc(msg_type=201, raises=ScanErrors)
    def filter(
        self, scan: Scan, radius: tachyon.f32, tags: Array[tachyon.u32], limit: tachyon.u64 | None = None
    ) -> Scan:
        raise NotImplementedError

    @tachyon.tachyon_rpc(msg_type=202)
    def rename(self, from_: str, to: str) -> str | None:
        raise NotImplementedError

    @tachyon.tachyon_rpc(msg_type=203)
    def doubled(self, scan: Scan) -> list[Scan]:
        return [scan, scan]

    @tachyon.tachyon_rpc(msg_type=204)
    def reset(self) -> None: ...

    @tachyon.tachyon_rpc(msg_type=205)
    def name(self) -> str:
        raise NotImplementedError


class Sensor(Sensors):
    def __init__(self) -> None:
        self.named = ""

    def filter(
        self, scan: Scan, radius: tachyon.f32, tags: Array[tachyon.u32], limit: tachyon.u64 | None = None
    ) -> Scan:
        for tag in tags:
            if tag > 100:
                raise NoSensor(sensor=tag)
        points = [point for point in scan.points if (point.x**2 + point.y**2) ** 0.5 <= radius]
        return scan.replace(points=points, taken_at=scan.taken_at if limit is None else limit)

    def rename(self, from_: str, to: str) -> str | None:
        if self.named != from_:
            return None
        self.named = to
        return self.named

    def reset(self) -> None:
        self.named = ""

    def name(self) -> str:
        return self.named


def dispatcher_of(role: str) -> tachyon.RpcDispatcher:
    dispatcher = tachyon.RpcDispatcher(hide_error_text=role == "hidden")
    for endpoint in {"one": echoes(), "many": many, "hidden": many, "seen_server": many, "sensor": [Sensor()]}[role]:
        dispatcher.register(endpoint)
    return dispatcher


def main(role: str, path: str, size: str = "65536") -> None:
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    dispatcher = dispatcher_of(role)
    if role == "seen_server":
        dispatcher.serve_forever(tachyon.RpcServer(path))
        return
    with tachyon.RpcBus.listen(path, int(size), int(size), dispatcher=dispatcher) as bus:
        dispatcher.serve_forever(bus)


if __name__ == "__main__":
    main(*sys.argv[1:])
