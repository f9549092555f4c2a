"""Generated from a callee's description by `tachyon codegen python`."""

import tachyon


class Quote(tachyon.Struct):
    """What an instrument costs."""

    instrument: tachyon.u64
    bid: tachyon.f64
    ask: tachyon.f64


@tachyon.tachyon_rpc(msg_type=1)
def keep(request: tachyon.Array[Quote]) -> tachyon.u64:
    """Keeps quotes, and says how many there are."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=2)
def latest(request: tachyon.u64) -> Quote:
    """The latest quote of an instrument."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=3)
def mean(request: tachyon.Array[tachyon.f64]) -> tachyon.f64:
    """The mean of many numbers."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=4)
def running_sum(request: tachyon.Array[tachyon.f64]) -> tachyon.Array[tachyon.f64]:
    """The sums of all beginnings, written where they are read."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=10)
def shout(request: memoryview) -> bytes:
    """The same, louder; this one is in Python."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=11)
def stop() -> None:
    """Ends the service."""
    raise NotImplementedError
