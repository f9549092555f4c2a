"""What DESIGN promises, as a check that a machine can make."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.contenders import MIB
from bench.measure import Measured
from bench.ratios import Spread, placement, ratio


@dataclass(frozen=True)
class Target:
    """One row: the ratio of two contenders' times, and what it is to be."""

    title: str
    group: str
    size: int
    over: str
    under: str
    bound: float
    at_most: bool = False


TARGETS = (
    Target(
        "Rust to Rust RPC, 32 B, pure spin, over the bare line", "rpc", 32, "tachyon-spin", "floor", 1.25, at_most=True
    ),
    Target("the same, faster than tachyon-ipc 0.5.1 by", "rpc", 32, "tachyon-ipc-spin", "tachyon-spin", 1.6),
    Target("the same, faster than iceoryx2 0.10 by", "rpc", 32, "iceoryx2", "tachyon-spin", 6),
    Target("adaptive over pure spin while busy", "rpc", 32, "tachyon-adaptive", "tachyon-spin", 1.1, at_most=True),
    Target(
        "one-way 32 B messages per second, over tachyon-ipc 0.5.1", "stream", 32, "tachyon-ipc-spin", "tachyon-spin", 2
    ),
    Target("the same by batches, over tachyon-ipc 0.5.1", "stream", 32, "tachyon-ipc-batch", "tachyon-batch", 2),
    Target("one-way 32 B messages per second, over rtrb between threads", "stream", 32, "rtrb", "tachyon-spin", 0.8),
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

DISPATCH = "dispatch over 1,000 endpoints, instructions over those of 1"


@dataclass(frozen=True)
class Verdict:
    """A target and what was measured."""

    title: str
    wanted: str
    measured: Spread | None
    met: bool | None
    """None if it was not measured."""
    where: str

    @property
    def word(self) -> str:
        """The verdict in a word."""
        return {True: "met", False: "MISSED", None: "not measured"}[self.met]


def judge(target: Target, groups: Mapping[str, Measured]) -> Verdict:
    """Compare what was measured with a target; the median decides."""
    wanted = f"{'<=' if target.at_most else '>='} {target.bound:g}"
    measured = groups.get(target.group)
    over = measured.values(target.size, target.over) if measured else None
    under = measured.values(target.size, target.under) if measured else None
    if measured is None or over is None or under is None:
        return Verdict(target.title, wanted, None, None, "")
    found = ratio(over, under)
    met = found.median <= target.bound if target.at_most else found.median >= target.bound
    floors = measured.values(target.size, "floor")
    return Verdict(target.title, wanted, found, met, placement(floors) if floors else "unknown")


def judge_dispatch(counts: tuple[float, float] | None) -> Verdict:
    """Compare the instructions of a dispatch over one endpoint and over a thousand; less than one apart is equal."""
    if counts is None:
        return Verdict(DISPATCH, "equal", None, None, "")
    one, thousand = counts
    value = thousand / one
    return Verdict(DISPATCH, "equal", Spread(value, value, value), abs(one - thousand) < 1, "counted, not timed")
