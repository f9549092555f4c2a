"""Interpreters that end in the middle of operations, and interpreters beside the main one."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

import tachyon

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

ENDINGS = [
    "recv",
    "send",
    "listen",
    "connect",
    "serve",
    "serve_forever",
    "server",
    "workers",
    "workers_under_load",
    "wait",
    "an_open_guard",
    "a_guard_that_was_never_left",
    "an_exit_handler",
]
"""The functions of `services/interpreter_end.py`."""


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_end_of_the_interpreter(service: Callable[..., Peer], ending: str) -> None:
    """The interpreter ends in good order beside blocked daemon threads and objects in use."""
    assert service("interpreter_end", ending).join() == "ending\nlate\n"


def test_a_program_killed_in_a_call_leaves_no_core(peer: Callable[[str], Peer], path: str) -> None:
    """SIGTERM has no handler in Python, and ends the process in the middle of the call."""
    child = peer("""
        import os
        print(os.getpid(), flush=True)
        tachyon.Bus.listen(path, 4096).recv()
    """)
    child.line()
    with tachyon.Bus.connect(path) as bus:
        child.process.send_signal(signal.SIGTERM)
        with pytest.raises(tachyon.PeerDeadError):
            while True:
                bus.send(bytes(100), timeout=10)
    assert child.process.wait(10) == -signal.SIGTERM


def test_a_sub_interpreter_is_refused(service: Callable[..., Peer]) -> None:
    if sys.version_info >= (3, 13):
        pytest.skip("the module that makes sub-interpreters has another name; Python itself refuses from 3.12 on")
    assert "sub-interpreter" in service("sub_interpreter").join()
