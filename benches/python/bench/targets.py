"""The targets of DESIGN as checks."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.contenders import MIB
from bench.measure import Measured
from bench.ratios import Spread, placement, ratio, spread


@dataclass(frozen=True)
class Target:
    """A bound for the ratio of two contenders' times."""

    title: str
    group: str
    size: int
    over: str
    under: str
    bound: float
    at_most: bool = False
    rate: int | None = None
    """The rate in calls per second; None for calls back to back."""


@dataclass(frozen=True)
class Busy:
    """A bound for the part of a core that a callee takes at a rate of calls."""

    title: str
    group: str
    size: int
    key: str
    rate: int
    bound: float


PACE = 2_000

TARGETS = (
    Target("RPC 32 B, pure spin, over the bare line", "rpc", 32, "tachyon-spin", "floor", 1.25, at_most=True),
    Target("RPC 64 B, over the bare line", "rpc", 64, "tachyon-spin", "floor", 1.5, at_most=True),
    Target("RPC 104 B, over the bare line", "rpc", 104, "tachyon-spin", "floor", 1.5, at_most=True),
    Target("RPC 176 B, over the bare line", "rpc", 176, "tachyon-spin", "floor", 1.9, at_most=True),
    Target("RPC 176 B, faster than tachyon-ipc 0.5.1 by", "rpc", 176, "tachyon-ipc-spin", "tachyon-spin", 1.3),
    Target("RPC 1 KiB, faster than tachyon-ipc 0.5.1 by", "rpc", 1024, "tachyon-ipc-spin", "tachyon-spin", 1.25),
    Target("RPC 32 B, faster than tachyon-ipc 0.5.1 by", "rpc", 32, "tachyon-ipc-spin", "tachyon-spin", 1.6),
    Target("RPC 32 B, faster than iceoryx2 0.10 by", "rpc", 32, "iceoryx2", "tachyon-spin", 6),
    Target("adaptive over pure spin while busy", "rpc", 32, "tachyon-adaptive", "tachyon-spin", 1.1, at_most=True),
    Target(
        "at 2,000 calls per second, default mode, p50 faster than tachyon-ipc 0.5.1's default by",
        "rpc",
        32,
        "tachyon-ipc-adaptive",
        "tachyon-adaptive",
        1.2,
        rate=PACE,
    ),
    Target("1 MiB calls, faster than iceoryx2 0.10 by", "rpc-large", MIB, "iceoryx2", "tachyon-spin", 1.1),
    Target("one-way 32 B, over tachyon-ipc 0.5.1", "stream", 32, "tachyon-ipc-spin", "tachyon-spin", 2),
    Target("stream of 32 B items, over one-way messages", "items", 32, "tachyon-spin", "tachyon-items-spin", 0.5),
    Target("stream of 32 B items, faster than grpcio by", "items", 32, "grpc-items", "tachyon-items", 50),
    Target("one-way 32 B by batches, over tachyon-ipc 0.5.1", "stream", 32, "tachyon-ipc-batch", "tachyon-batch", 2),
    Target("one-way 32 B, over rtrb between threads", "stream", 32, "rtrb", "tachyon-spin", 0.9),
    Target(
        "1 MiB copied in once and read in place, over memcpy's bandwidth", "bulk", MIB, "memcpy", "tachyon-words", 0.9
    ),
    Target(
        "Python calls Python, faster than tachyon-ipc 0.5.1 by",
        "languages",
        32,
        "tachyon-ipc-python",
        "python-python",
        6,
    ),
    Target("Python calls Rust, faster than the same by", "languages", 32, "tachyon-ipc-python", "python-rust", 10),
)

BUSY = (
    Busy(
        "at 2,000 calls per second, default mode, the callee's part of a core",
        "rpc",
        32,
        "tachyon-adaptive",
        PACE,
        0.25,
    ),
)

DISPATCH = "dispatch over 1,000 endpoints, instructions over those of 1"


@dataclass(frozen=True)
class Verdict:
    """A target and its measured value."""

    title: str
    wanted: str
    measured: Spread | None
    met: bool | None
    """None without a measurement."""
    where: str

    @property
    def word(self) -> str:
        """The verdict in a word."""
        return {True: "met", False: "MISSED", None: "not measured"}[self.met]


def judge(target: Target, groups: Mapping[str, Measured]) -> Verdict:
    """Compare the median of the measurements with the target."""
    wanted = f"{'<=' if target.at_most else '>='} {target.bound:g}"
    measured = groups.get(target.group)
    over, under = (rounds(target, measured, key) for key in (target.over, target.under))
    if measured is None or over is None or under is None:
        return Verdict(target.title, wanted, None, None, "")
    found = ratio(over, under)
    met = found.median <= target.bound if target.at_most else found.median >= target.bound
    floors = measured.values(target.size, "floor")
    return Verdict(target.title, wanted, found, met, placement(floors) if floors else "unknown")


def rounds(target: Target, measured: Measured | None, key: str) -> list[float] | None:
    """Return the rounds of a contender that a target compares."""
    if measured is None:
        return None
    if target.rate is None:
        return measured.values(target.size, key)
    return measured.paced(target.size, key, target.rate)


def judge_busy(row: Busy, groups: Mapping[str, Measured]) -> Verdict:
    """Compare the median processor time of a callee with its bound."""
    wanted = f"<= {row.bound:g}"
    measured = groups.get(row.group)
    parts = measured.busy(row.size, row.key, row.rate) if measured else None
    if not parts:
        return Verdict(row.title, wanted, None, None, "")
    found = spread(parts)
    return Verdict(row.title, wanted, found, found.median <= row.bound, "processor time, not time")


def judge_dispatch(counts: tuple[float, float] | None) -> Verdict:
    """Compare the instructions of a dispatch over 1 and over 1,000 endpoints. A difference below 1 counts as equal."""
    if counts is None:
        return Verdict(DISPATCH, "equal", None, None, "")
    one, thousand = counts
    value = thousand / one
    return Verdict(DISPATCH, "equal", Spread(value, value, value), abs(one - thousand) < 1, "counted, not timed")
