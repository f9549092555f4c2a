"""Fixtures of `tachyon` for pytest, which finds them once `tachyon-ipc` is installed.

`tachyon_serve` is `tachyon.testing.serve` until the end of the test, and `tachyon_path` is a path for a socket. A test
that uses neither does not import `tachyon`.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tachyon import RpcBus, RpcDispatcher

__all__ = ["tachyon_path", "tachyon_serve"]


@pytest.fixture
def tachyon_serve() -> Iterator[Callable[[RpcDispatcher], RpcBus]]:
    """Return a function that serves a dispatcher until the end of the test, and returns the bus to call it on."""
    from tachyon.testing import serve  # noqa: PLC0415 - only for tests that use the fixture

    with ExitStack() as stack:
        yield lambda dispatcher: stack.enter_context(serve(dispatcher))


@pytest.fixture
def tachyon_path() -> Iterator[Path]:
    """Return a path for a socket, short enough for the system, in a folder that is removed after the test."""
    folder = tempfile.mkdtemp(prefix="tachyon-")
    yield Path(folder, "service.sock")
    shutil.rmtree(folder, ignore_errors=True)
