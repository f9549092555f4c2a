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
    wait_until_sleeping(pid, "*")


def wait_until_asleep(thread: int) -> None:
    """Return when this thread of this process, by its native id, has slept for ten looks in a row."""
    wait_until_sleeping("self", thread)


def wait_until_sleeping(pid: int | str, threads: int | str) -> None:
    asleep = 0
    for _ in range(1000):
        stats = Path(f"/proc/{pid}/task").glob(f"{threads}/stat")
        asleep = asleep + 1 if {stat.read_text().rsplit(")", 1)[1].split()[0] for stat in stats} == {"S"} else 0
        if asleep == 10:
            return
        time.sleep(0.01)
    pytest.fail("a thread never slept")
