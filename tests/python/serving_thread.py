"""A server in a thread of the test."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tachyon import RpcDispatcher, RpcServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def serving(dispatcher: RpcDispatcher, path: str, *, workers: int = 1, **options: Any) -> Iterator[RpcServer]:
    """Serve a dispatcher until the end of the block."""
    with RpcServer(path, **options) as server:
        thread = threading.Thread(target=dispatcher.serve_forever, args=(server,), kwargs={"workers": workers})
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join()
