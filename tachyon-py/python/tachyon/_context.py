"""What a handler may know of the request it handles."""

from __future__ import annotations

from contextvars import ContextVar

from tachyon._tachyon import CurrentCall, _current_call  # pyright: ignore[reportPrivateUsage]
from tachyon.errors import NoCallError

task_call: ContextVar[CurrentCall] = ContextVar("tachyon.task_call")
"""The request of a handler that runs as a task; tasks and threads that it starts with its context have it, too."""


def current_call() -> CurrentCall:
    """Return the request that the running handler is busy with: who calls what, and how long they still wait.

    Raises `NoCallError`, a `LookupError`, outside of a handler.
    """
    # A handler on this thread first: it may run while a task is the current one.
    call = _current_call() or task_call.get(None)
    if call is None:
        message = "no handler is running here; ask inside one"
        raise NoCallError(message)
    return call
