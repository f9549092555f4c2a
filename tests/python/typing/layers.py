"""Types of metadata and layers; mypy and pyright must agree with every line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, assert_type

import tachyon
from tachyon import Pool, RpcBus, RpcDispatcher, layers, tachyon_rpc
from tachyon.layers import CallerGone, CallFailed, Failed, GivenUp, Replied

if TYPE_CHECKING:
    from tachyon.layers import CallOutcome, Outcome, OutgoingCall


@tachyon_rpc(msg_type=1)
def price(instrument: tachyon.u64) -> tachyon.f64:
    """Take and give a number."""
    assert_type(tachyon.current_call().metadata, Mapping[str, str])
    assert_type(tachyon.current_call().request_size, int)
    return float(instrument)


async def metadata(bus: RpcBus, pool: Pool) -> None:
    """Views add up, and calls on them keep their types."""
    assert_type(price.call(bus.metadata("a", "1").within(0.5).metadata("b", "2"), 1), float)
    assert_type(await price.acall(bus.metadata("a", "1"), 1), float)
    assert_type(pool.metadata("a", "1").within(0.5).call(price, 1), float)
    assert_type(await pool.within(0.5).metadata("a", "1").acall(price, 1), float)
    assert_type(bus.metadata("a", "1").start(b"", 2), int)
    bus.metadata("a", 1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    pool.metadata("a")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


class Auth(layers.Layer):
    """Derives, and has one method."""

    def before(self, call: tachyon.CurrentCall, /) -> None:
        """Refuse."""
        assert_type(call.metadata.get("authorization"), str | None)
        raise tachyon.errors.PermissionDeniedError(call.name)


class Log:
    """Derives from nothing."""

    def after(self, call: tachyon.CurrentCall, outcome: Outcome, seconds: float, /) -> None:
        """See every outcome."""
        match outcome:
            case Replied(size):
                assert_type(size, int)
            case Failed(kind):
                assert_type(kind, tachyon.ErrorKind)
            case CallerGone():
                assert_type(call.caller_pid, int | None)
        assert seconds


class Trace:
    """A layer of a caller."""

    def before(self, call: OutgoingCall, /) -> None:
        """Add metadata."""
        call.add_metadata("traceparent", f"{call.name} {call.remaining} {call.msg_type}")

    def after(self, call: OutgoingCall, outcome: CallOutcome, seconds: float, /) -> None:
        """See every outcome."""
        match outcome:
            case Replied(size):
                assert_type(size, int)
            case CallFailed(error):
                assert_type(error, Exception)
            case GivenUp():
                assert_type(call.request_size, int)
        assert seconds


def added(dispatcher: RpcDispatcher, bus: RpcBus, pool: Pool) -> None:
    """Each side takes its own layers."""
    dispatcher.layer(Auth()).layer(Log())
    bus.layer(Trace()).layer(layers.CallerLayer())
    pool.layer(Trace())
    dispatcher.layer(3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    dispatcher.layer(Trace())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    bus.layer(Log())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    pool.layer(Auth)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
