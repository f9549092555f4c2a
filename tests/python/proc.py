"""Facts of a process, read from /proc."""

from __future__ import annotations

import time
from pathlib import Path

import pytest


def descriptors(pid: int | str = "self") -> int:
    """Count the open file descriptors."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def mappings(pid: int | str = "self") -> int:
    """Count the mappings of shared memory."""
    return Path(f"/proc/{pid}/maps").read_text().count("memfd:tachyon")


def thread_names() -> list[str]:
    """Return the names of the threads of this process."""
    return [task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]


def wait_until_parked(pid: int) -> None:
    """Return when all threads of the process have slept for ten looks in a row."""
    parked = 0
    for _ in range(1000):
        states = [task.read_text().rsplit(")", 1)[1].split()[0] for task in Path(f"/proc/{pid}/task").glob("*/stat")]
        parked = parked + 1 if set(states) == {"S"} else 0
        if parked == 10:
            return
        time.sleep(0.01)
    pytest.fail("the child never parked")
