"""`current_call`: the request that a handler handles."""

from __future__ import annotations

from contextvars import ContextVar

from tachyon._tachyon import CurrentCall, _current_call  # pyright: ignore[reportPrivateUsage]
from tachyon.errors import NoCallError

task_call: ContextVar[CurrentCall] = ContextVar("tachyon.task_call")
"""The request of a handler that runs as a task. Tasks and threads that inherit its context see it too."""


def running_call() -> CurrentCall | None:
    """Return the request of the running handler, None outside of a handler."""
    # A handler on this thread comes first: it may run inside a task.
    return _current_call() or task_call.get(None)


def current_call() -> CurrentCall:
    """Return the request of the running handler: its caller, its endpoint and its deadline.

    Raises `NoCallError`, a `LookupError`, outside of a handler.
    """
    call = running_call()
    if call is None:
        message = "no handler is running here; call `current_call` inside a handler"
        raise NoCallError(message)
    return call
