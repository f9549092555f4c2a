"""`stop_on`: signals that stop servers.

A handler set by `signal.signal` serves threads and event loops alike: the handler runs in the main thread, and `stop`
wakes the server. `loop.add_signal_handler` would replace handlers of the program that nothing can restore.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from tachyon._tachyon import RpcServer
from tachyon.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType


class Handled:
    """A signal that stops servers, and its handler from before."""

    def __init__(self, number: int, server: RpcServer) -> None:
        """Let the signal stop a server. The signal may come at once."""
        self.servers = [server]
        self._number = number
        self._before: Any = signal.getsignal(number)
        if self._before is None:
            message = f"{name_of(number)} has a handler that Python did not set and cannot restore; leave it out"
            raise InvalidArgumentError(message)
        signal.signal(number, self._stop)

    def _stop(self, number: int, _: FrameType | None) -> None:
        """Stop the servers, as the signal's handler."""
        for server in self.servers:
            server.stop()
        if number == signal.SIGINT:
            # The user's second Ctrl-C interrupts a handler that hangs.
            self.restore()

    def restore(self) -> None:
        """Restore the handler from before, unless the program has set another one meanwhile."""
        if _handled.get(self._number) is self:
            del _handled[self._number]
            if signal.getsignal(self._number) == self._stop:
                signal.signal(self._number, self._before)


_handled: dict[int, Handled] = {}
"""The signals that stop servers now, several of them in one event loop."""


def _forked() -> None:
    """Restore the handlers in a forked child: the servers are the parent's, and a signal ends the child as before."""
    for handled in list(_handled.values()):
        handled.restore()


os.register_at_fork(after_in_child=_forked)


def install(signals: Iterable[int], server: object) -> Callable[[], None]:
    """Let signals stop a server; the function that this returns ends that."""
    if not isinstance(server, RpcServer):
        message = "stop_on stops an RpcServer; the serving of a bus ends when its peer closes"
        raise InvalidArgumentError(message)
    numbers = checked(signals)
    if threading.current_thread() is not threading.main_thread():
        message = "only the main thread handles signals: pass stop_on there, or let a handler there call server.stop()"
        raise InvalidArgumentError(message)
    with contextlib.ExitStack() as stack:
        for number in numbers:
            handled = _handled.get(number)
            if handled is None:
                handled = _handled[number] = handle(number, server)
            else:
                handled.servers.append(server)
            stack.callback(leave, handled, server)
        return stack.pop_all().close


def handle(number: int, server: RpcServer) -> Handled:
    """Let a signal stop a server, or raise for a signal that cannot be handled."""
    try:
        return Handled(number, server)
    except OSError:
        message = f"{name_of(number)} cannot be handled; stop_on takes signals such as signal.SIGTERM"
        raise InvalidArgumentError(message) from None


def leave(handled: Handled, server: RpcServer) -> None:
    """End the effect of a signal on one server."""
    handled.servers.remove(server)
    if not handled.servers:
        handled.restore()


def checked(signals: Iterable[int]) -> list[int]:
    """Return the numbers of the signals, each of them once."""
    advice = "stop_on takes signals, such as (signal.SIGTERM, signal.SIGINT)"
    try:
        given: list[object] = list(signals)
    except TypeError:
        message = f"{advice}, not {type(signals).__name__}"
        raise TypeError(message) from None
    numbers: set[int] = set()
    for number in given:
        # Bools are ints, and 1 is a signal.
        if not isinstance(number, int) or isinstance(number, bool):
            message = f"{advice}, not {type(number).__name__}"
            raise TypeError(message)
        if number not in signal.valid_signals():
            message = f"{advice}, and {number} is no signal of this system"
            raise InvalidArgumentError(message)
        numbers.add(number)
    return sorted(numbers)


def name_of(number: int) -> str:
    """Return the name of a signal, such as `SIGTERM`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
