"""Forked children that make a check and report its outcome by their status."""

from __future__ import annotations

import os
import signal
import time
import warnings
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 20.0
"""Seconds after which a child hangs."""


def fork() -> int:
    with warnings.catch_warnings():
        # Threads of other tests may still run.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def in_child(check: Callable[[], bool]) -> None:
    """Run a check in a forked child; the check must hold and end soon."""
    child = fork()
    if child == 0:
        code = 1
        try:
            code = 0 if check() else 2
        except BaseException as error:
            os.write(2, repr(error).encode())
        os._exit(code)
    deadline = time.monotonic() + LIMIT
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.001)
    assert os.waitstatus_to_exitcode(ended[1]) == 0
