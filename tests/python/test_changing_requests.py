"""A caller that writes to its requests while they are read hands in valid values only."""

from __future__ import annotations

import subprocess
import time

from programs import program
from services.contract import Small  # noqa: TC001 - the dispatcher reads the hints
from tachyon import RpcBus, RpcDispatcher

AT_WORK = 2.0
"""The least seconds for which requests are rewritten while they are read."""

LIMIT = 20.0
"""The most seconds."""


def examined(value: Small) -> tuple[object, ...]:
    marks = [(mark.grade, mark.valid) for mark in value.marks]
    inner = None if value.inner is None else (value.inner.sensor, repr(value.inner.at.x))
    return value.flag, value.grade, value.text, tuple(value.names), marks, value.maybe, inner


def test_requests_that_are_rewritten_while_they_are_read(path: str) -> None:
    seen = {"valid": 0, "changed": 0}
    dispatcher = RpcDispatcher()

    @dispatcher.handler(1)
    def examine(value: Small) -> None:
        before = value.numbers[:]
        first = examined(value)
        for _ in range(20):
            # Checked values do not change.
            assert examined(value) == first
        assert all(type(number) is int for number in before)
        seen["valid"] += 1
        # Numbers lie in the ring and may change there: any bytes are numbers.
        seen["changed"] += value.numbers[:] != before

    with subprocess.Popen([program("vandal"), "caller", path], stdout=subprocess.DEVNULL) as vandal:
        served = 0
        with RpcBus.listen(path, 1 << 16, 1 << 16, timeout=20.0) as bus:
            begun = time.monotonic()

            def is_enough() -> bool:
                took = time.monotonic() - begun
                # A busy machine takes longer to see each case once.
                return took > LIMIT or (took > AT_WORK and served > seen["valid"] > 100 and seen["changed"] > 0)

            while not is_enough():
                # An error would be a failure of the handler; a refused request is no error.
                dispatcher.serve_once(bus, timeout=20.0)
                served += 1
        assert vandal.wait(20) == 0
    assert served > seen["valid"] > 100
    assert seen["changed"] > 0
