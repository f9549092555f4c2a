"""Generated from a callee's description by `tachyon codegen python`."""

import tachyon


class Quote(tachyon.Struct):
    """The price of an instrument."""

    instrument: tachyon.u64
    bid: tachyon.f64
    ask: tachyon.f64


@tachyon.tachyon_rpc(msg_type=1)
def keep(request: tachyon.Array[Quote]) -> tachyon.u64:
    """Keeps quotes, and returns their number."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=2)
def latest(request: tachyon.u64) -> Quote:
    """Returns the latest quote of an instrument."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=3)
def mean(request: tachyon.Array[tachyon.f64]) -> tachyon.f64:
    """Returns the mean of numbers."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=4)
def running_sum(request: tachyon.Array[tachyon.f64]) -> tachyon.Array[tachyon.f64]:
    """Returns the running sums, written in place."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=10)
def shout(request: memoryview) -> bytes:
    """Returns the text in capitals; this endpoint is in Python."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=11)
def stop() -> None:
    """Stops the service."""
    raise NotImplementedError
