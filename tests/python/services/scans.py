"""Endpoints of every form of requests and replies, and the Structs that travel."""

from typing import Annotated

import numpy as np
import numpy.typing as npt

import tachyon
from services import serving
from tachyon import Array


class Side(tachyon.IntEnum, repr="u8"):
    BUY = 1
    SELL = 2


class Point(tachyon.Struct):
    x: tachyon.f32
    y: tachyon.f32


class Tag(tachyon.Struct):
    name: str
    side: Side


class Scan(tachyon.Struct):
    """A turn of the sensor."""

    taken_at: tachyon.u64
    frame: str
    points: Array[Point]
    note: str | None = None
    live: tachyon.bool = True
    flags: Array[tachyon.bool] = []  # type: ignore[assignment]
    data: bytes = b""
    numbers: npt.NDArray[np.float64] = np.zeros(0)
    tags: list[Tag] = []
    names: list[str] = []
    best: Tag | None = None
    gain: tachyon.f64 | None = None
    origin: Point = Point(x=0.0, y=0.0)
    four: Annotated[Array[tachyon.u16], 4] = [1, 2, 3, 4]  # type: ignore[assignment]


scans_kept: list[Scan] = []
arrays_kept: list[npt.NDArray[np.float64]] = []
dispatcher = tachyon.RpcDispatcher()


@dispatcher.handler(1)
def back(scan: Scan) -> Scan:
    return scan


@dispatcher.handler(2)
def text(value: str) -> str:
    assert type(value) is str
    return value[::-1]


@dispatcher.handler(3)
def texts(values: list[str]) -> list[str]:
    return sorted(values)


@dispatcher.handler(4)
def lists(values: list[list[tachyon.u16]]) -> list[list[tachyon.u16]]:
    return values[::-1]


@dispatcher.handler(5)
def scans(values: list[Scan]) -> list[Scan]:
    return values


@dispatcher.handler(6)
def maybe(value: str | None) -> str | None:
    return None if value is None else value + "!"


@dispatcher.handler(7)
def points(values: list[Point]) -> list[Point]:
    assert all(type(value) is Point for value in values)
    values[0].x += 1.0
    return values


@dispatcher.handler(8)
def look(scan: Scan, keep: tachyon.bool, text: str, more: npt.NDArray[np.int32], raw: memoryview) -> list[str]:
    said = [type(scan.points).__name__, str(scan.numbers.flags.owndata), type(scan.data).__name__, type(raw).__name__]
    said += [str(memoryview(scan.points).readonly), str(more.flags.writeable), str(raw.readonly)]
    said.append(type(scan.origin).__name__)
    scan.origin.x = 7.0
    scan.frame = "changed"
    try:
        scan.points[0] = Point(x=0.0, y=0.0)
    except TypeError as error:
        said.append(str(error))
    said += [str(more.tolist()), bytes(raw).decode()]
    if keep:
        scans_kept[:] = [scan, scan.copy()]
        # The array of numpy would be a kept view, which fails the call.
        scan.numbers = np.zeros(1)
    return said


@dispatcher.handler(9)
def remember() -> list[str]:
    lent, copied = scans_kept
    said = [lent.frame, repr(lent), str(copied.points), repr(copied.numbers.tolist()), str(copied.flags[:])]
    for attempt in (lambda: lent.points[0], lent.copy, lambda: bytes(lent)):
        try:
            attempt()
        except tachyon.errors.ReleasedError as error:
            said.append(type(error).__name__)
    return said


@dispatcher.handler(10)
def keeps_arrays(scan: Scan) -> None:
    arrays_kept.append(scan.numbers)


@dispatcher.handler(11)
def side_of(value: Side | None) -> Side | None:
    return value


@dispatcher.handler(12)
def half(value: tachyon.f64 | None) -> tachyon.f64 | None:
    return None if value is None else value / 2


@dispatcher.handler(13)
def none(value: tachyon.u8) -> None:
    assert value == 1


@dispatcher.handler(14)
def bad_text() -> str:
    return "\ud800"


@dispatcher.handler(15)
def bad_list() -> list[str]:
    return ["a", 7]  # type: ignore[list-item]


if __name__ == "__main__":
    serving.serve(dispatcher)
