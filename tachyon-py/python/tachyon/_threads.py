"""Threads of the core that run Python handlers, as `threading` sees them."""

from __future__ import annotations

import sys
import threading


def enter(name: str) -> None:
    """Give this thread its name, and the trace and profile functions of `threading`, as a `Thread` gets them."""
    threading.current_thread().name = name
    if (trace := threading.gettrace()) is not None:
        sys.settrace(trace)
    if (profile := threading.getprofile()) is not None:
        sys.setprofile(profile)


def leave() -> None:
    """Remove this thread from `threading.enumerate()`.

    Before Python 3.13 the entry stays, and a later thread that gets the same number gets the entry, too.
    """
    sys.settrace(None)
    sys.setprofile(None)
    threading._active.pop(threading.get_ident(), None)  # type: ignore[attr-defined]  # noqa: SLF001
