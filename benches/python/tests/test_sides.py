import os
import sys
import time

import pytest
from bench import sides
from bench.sides import Pair, Side, SideError

ECHO = """
import sys
print('{"ready": true}', flush=True)
for line in sys.stdin:
    print('{"mean": 1.0}', flush=True)
"""


def python(program):
    return [sys.executable, "-c", program]


def cores():
    return set(os.sched_getaffinity(0))


def start(program):
    return Side("a side", python(program), cores(), {})


def test_a_pair_runs_rounds_and_ends(tmp_path):
    pair = Pair("echo", tmp_path).start(python(ECHO), python(ECHO), both(), endless=False, tag="")
    processes = [side.process for side in (pair.asking, pair.answering)]
    assert pair.round({"count": 1}) == {"mean": 1.0}
    assert pair.round({"count": 1}) == {"mean": 1.0}
    pair.end()
    assert [process.returncode for process in processes] == [0, 0]


def both():
    first, *rest = sorted(cores())
    return first, rest[0] if rest else first


def test_a_side_that_dies_is_accounted_for():
    side = start("import sys; sys.exit('no room in the inn')")
    with pytest.raises(SideError, match="exit status 1: no room in the inn"):
        side.hear(30)
    side.end()


def test_a_side_that_hangs_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(sides, "END", 0.1)
    side = start("import time; time.sleep(600)")
    begin = time.monotonic()
    with pytest.raises(SideError, match="no report in 0 s"):
        side.hear(0.2)
    side.end()
    assert time.monotonic() - begin < 20
    assert side.process.returncode is not None


def test_a_pair_of_which_one_fails_leaves_nobody_behind(tmp_path):
    pair = Pair("broken", tmp_path)
    with pytest.raises(SideError, match="asking"):
        pair.start(python("raise SystemExit(3)"), python(ECHO), both(), endless=False, tag="")
    assert pair.asking is None
    assert pair.answering is None
