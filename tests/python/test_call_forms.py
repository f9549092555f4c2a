"""`tachyon call`: every form as JSON, and what is wrong with it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

SERVICE = """
import logging
logging.disable()
import tachyon
from tachyon import Array

class Side(tachyon.IntEnum, repr="u8"):
    BUY = 1
    SELL = 2

class Point(tachyon.Struct):
    x: tachyon.f32
    y: tachyon.f32

class Scan(tachyon.Struct):
    frame: str
    points: Array[Point]
    data: bytes = b""
    side: Side | None = None
    names: list[str] = []

class NoSensor(tachyon.EndpointError, text="no sensor {sensor}"):
    sensor: tachyon.u32

dispatcher = tachyon.RpcDispatcher()

@dispatcher.handler(1)
def filtered(scan: Scan, radius: tachyon.f32, tags: list[tachyon.u32], note: str | None = None) -> Scan:
    return scan.replace(frame=f"{scan.frame} {radius} {tags} {note}")

@dispatcher.handler(2)
def text(value: str) -> str:
    return value[::-1]

@dispatcher.handler(3)
def maybe(value: str | None) -> list[str] | None:
    return None if value is None else [value, value]

@dispatcher.handler(4)
def one(scan: Scan) -> list[Scan]:
    return [scan]

@dispatcher.handler(5, raises=(NoSensor,))
def read(sensor: tachyon.u32) -> tachyon.f64:
    raise NoSensor(sensor=sensor)

with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16) as bus:
    dispatcher.serve_forever(bus)
"""

SCAN = {"frame": "a", "points": [{"x": 1.0, "y": 2.0}], "data": "00ff", "side": "SELL", "names": ["n"]}


def call(path: str, name: str, *given: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "tachyon", "call", path, name, *map(json.dumps, given)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        (
            "filtered",
            {"scan": SCAN, "radius": 0.5, "tags": [1, 2], "note": "x"},
            SCAN | {"frame": "a 0.5 [1, 2] x"},
        ),
        (
            "filtered",
            {"scan": {"frame": "b", "points": [], "data": "", "names": []}, "radius": 1, "tags": []},
            {"frame": "b 1.0 [] None", "points": [], "data": "", "side": None, "names": []},
        ),
        ("text", "abé", "éba"),
        ("maybe", "x", ["x", "x"]),
        ("maybe", None, None),
        ("one", SCAN, [SCAN]),
    ],
)
def test_forms_there_and_back(
    peer: Callable[[str], Peer], path: str, name: str, given: object, expected: object
) -> None:
    child = peer(SERVICE)
    done = call(path, name, given)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected
    child.join()


@pytest.mark.parametrize(
    ("name", "given", "complaint"),
    [
        ("filtered", {"radius": 0.5, "tags": []}, "is an object of scan, radius, tags, note, and `scan` is missing"),
        ("filtered", {"scan": SCAN, "radius": 0.5, "tags": [], "x": 1}, "and has no `x`"),
        ("filtered", [1], "the request is an object, not list"),
        ("filtered", {"scan": SCAN, "radius": "1", "tags": []}, "radius is a number (f32), not str"),
        ("filtered", {"scan": SCAN, "radius": 1, "tags": [-1]}, "tags[0] is u32, from 0 to 4294967295"),
        ("one", SCAN | {"data": "xyz"}, "the request.data is bytes, two hexadecimal digits each"),
        ("one", SCAN | {"side": "HOLD"}, "the request.side is one of BUY, SELL, not 'HOLD'"),
        ("one", SCAN | {"points": [{"x": 1.0}]}, "the request.points[0] is an object of x, y, and `y` is missing"),
        ("text", 7, "the request is text, not int"),
        ("read", 3, "read: HANDLER_FAILED NoSensor: no sensor 3"),
    ],
)
def test_what_is_wrong_is_one_line(
    peer: Callable[[str], Peer], path: str, name: str, given: object, complaint: str
) -> None:
    child = peer(SERVICE)
    done = call(path, name, given)
    assert done.returncode == 1
    # The first line says that the callee has one caller.
    _, message = done.stderr.splitlines()
    assert complaint in message
    assert message.startswith("tachyon: ")
    child.join()
