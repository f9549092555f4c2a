"""A caller that writes to its requests while they are read hands in valid values only."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Annotated

import tachyon
from tachyon import Array, RpcBus, RpcDispatcher

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(os.environ.get("TACHYON_PROGRAMS", ROOT / "target/debug"))
AT_WORK = 2.0
"""Seconds for which requests are rewritten while they are read."""


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


class Small(tachyon.Struct):
    flag: tachyon.bool
    grade: Grade
    text: str
    numbers: Array[tachyon.u32]
    names: list[str]
    marks: Array[Mark]
    maybe: Grade | None = None
    inner: Origin | None = None


def examined(value: Small) -> tuple[object, ...]:
    marks = [(mark.grade, mark.valid) for mark in value.marks]
    inner = None if value.inner is None else (value.inner.sensor, repr(value.inner.at.x))
    return value.flag, value.grade, value.text, tuple(value.names), marks, value.maybe, inner


def test_requests_that_are_rewritten_while_they_are_read(path: str) -> None:
    program = PROGRAMS / "vandal"
    assert program.exists(), f"{program} is not built: run `cargo build -p tachyon-tests`, or set TACHYON_PROGRAMS"
    seen = {"valid": 0, "changed": 0}
    dispatcher = RpcDispatcher()

    @dispatcher.handler(1)
    def examine(value: Small) -> None:
        before = value.numbers[:]
        first = examined(value)
        for _ in range(20):
            # What was checked does not change.
            assert examined(value) == first
        assert all(type(number) is int for number in before)
        seen["valid"] += 1
        # Numbers lie in the ring, where they may change: any bytes are some.
        seen["changed"] += value.numbers[:] != before

    with subprocess.Popen([program, "caller", path], stdout=subprocess.DEVNULL) as vandal:
        served = 0
        with RpcBus.listen(path, 1 << 16, 1 << 16, timeout=20.0) as bus:
            end = time.monotonic() + AT_WORK
            while time.monotonic() < end:
                # An error is a failure of the handler; a request that is refused is none.
                dispatcher.serve_once(bus, timeout=20.0)
                served += 1
        assert vandal.wait(20) == 0
    assert seen["valid"] > 100
    assert served > seen["valid"]
    assert seen["changed"] > 0
