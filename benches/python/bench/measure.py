"""Run the groups: the processes of all contenders stay alive, and their short rounds interleave."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench.contenders import Contender, Tools
from bench.groups import Group
from bench.ratios import Times
from bench.sides import Pair, SideError

ROUND_NS = 25e6
"""The length of a round, short enough that the machine is the same for a pair of rounds."""
PACED_NS = 100e6
MOST_CALLS = 60_000
MOST_MESSAGES = 400_000
FEWEST = 32
SHORT_NS = 20_000
"""Shorter calls are timed in blocks, longer calls one by one, where the cost of the clock does not matter."""
BLOCK = 16
CALIBRATIONS = 3


@dataclass
class Sized:
    """The results of one contender with one size of payload, in nanoseconds."""

    p50: list[float] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    single: Times = field(default_factory=Times)
    paced: dict[int, Times] = field(default_factory=dict)
    paced_p50: dict[int, list[float]] = field(default_factory=dict)
    """The median call of each paced round, by rate."""
    busy: dict[int, list[float]] = field(default_factory=dict)
    """The part of a core that the answering side takes in each paced round, by rate."""

    @property
    def values(self) -> list[float]:
        """The value of each round for ratios: the median call, or the mean message of a stream."""
        return self.p50 or self.mean


@dataclass
class Measured:
    """The results of a group."""

    group: Group
    sized: dict[int, dict[str, Sized]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def values(self, size: int, key: str) -> list[float] | None:
        """Return the rounds of a contender, if it has any."""
        found = self.sized.get(size, {}).get(key)
        return found.values if found and found.values else None

    def paced(self, size: int, key: str, rate: int) -> list[float] | None:
        """Return the median call of each paced round of a contender, if it has any."""
        found = self.sized.get(size, {}).get(key)
        return found.paced_p50.get(rate) if found else None

    def busy(self, size: int, key: str, rate: int) -> list[float] | None:
        """Return the part of a core that the answering side of a contender takes in each paced round."""
        found = self.sized.get(size, {}).get(key)
        return found.busy.get(rate) if found else None


class Runner:
    """Runs groups on two cores."""

    def __init__(self, tools: Tools, cores: tuple[int, int], rounds: int, tag: str, say: Callable[[str], None]) -> None:
        """Take the settings. `tag` is in the names of the files that contenders leave in shared memory."""
        self.tools = tools
        self.cores = cores
        self.rounds = rounds
        self.tag = tag
        self.say = say

    def run(self, group: Group) -> Measured:
        """Run one group."""
        measured = Measured(group)
        with tempfile.TemporaryDirectory(prefix="tb-") as folder, self.started(group, measured, Path(folder)) as pairs:
            for size in group.sizes:
                self.measure(measured, size, pairs)
        return measured

    @contextmanager
    def started(self, group: Group, measured: Measured, folder: Path) -> Iterator[dict[str, Pair]]:
        """Start all contenders that are there, and end those that still run."""
        pairs: dict[str, Pair] = {}
        try:
            for contender in group.contenders:
                if self.tools.missing(contender.needs):
                    measured.missing[contender.key] = contender.needs
                    continue
                try:
                    pairs[contender.key] = self.start(contender, group, folder)
                except SideError as error:
                    self.drop(measured, pairs, contender, error)
            yield pairs
        finally:
            for pair in pairs.values():
                pair.end()
            for left in Path("/dev/shm").glob(f"*_{self.tag}_*"):  # noqa: S108 - files of a killed iceoryx2
                left.unlink(missing_ok=True)

    def start(self, contender: Contender, group: Group, folder: Path) -> Pair:
        """Start both sides of a contender."""
        path = folder / f"{contender.key}.sock"
        capacity = contender.capacity or group.capacity
        asks = self.tools.command(contender.asks, path, capacity)
        answers = self.tools.command(contender.answers, path, capacity) if contender.answers else None
        return Pair(contender.title, folder).start(asks, answers, self.cores, endless=contender.endless, tag=self.tag)

    def drop(self, measured: Measured, pairs: dict[str, Pair], contender: Contender, error: SideError) -> None:
        """Continue without a failed contender, and print its error."""
        measured.failed[contender.key] = str(error)
        self.say(f"    failed: {error}")
        if pair := pairs.pop(contender.key, None):
            pair.end()

    def measure(self, measured: Measured, size: int, pairs: dict[str, Pair]) -> None:
        """Measure all contenders with one size of payload."""
        group = measured.group
        sitting = Sitting(group, size, measured.sized.setdefault(size, {}))

        def everyone(run: Callable[[Contender, Pair], None], number: int) -> None:
            # The order alternates. Neighbours in one order are neighbours in the other.
            for contender in group.contenders if number % 2 == 0 else reversed(group.contenders):
                if pair := pairs.get(contender.key):
                    try:
                        run(contender, pair)
                    except SideError as error:
                        self.drop(measured, pairs, contender, error)

        everyone(sitting.calibrate, 0)
        for number in range(self.rounds):
            everyone(sitting.back_to_back, number)
        for rate in group.rates if size == group.latency else ():
            for number in range(self.rounds):
                everyone(partial(sitting.paced, rate), number)
        for key in measured.failed:
            sitting.found.pop(key, None)


class Sitting:
    """The rounds of a group with one size of payload."""

    def __init__(self, group: Group, size: int, found: dict[str, Sized]) -> None:
        """Begin without results."""
        self.group = group
        self.size = size
        self.found = found
        self.orders: dict[str, dict[str, Any]] = {}

    def calibrate(self, contender: Contender, pair: Pair) -> None:
        """Find the number of calls or messages of a contender in a round."""
        stream = self.group.stream and contender.key != "floor"
        kind = "stream" if stream else "blocks"
        order = {"kind": kind, "size": self.size, "count": FEWEST * 4, "warm": FEWEST, "block": 1}
        # The shortest time: an interrupted calibration would make all rounds too short.
        each = min(pair.round(order)["mean"] for _ in range(CALIBRATIONS))
        most = MOST_MESSAGES if stream else MOST_CALLS
        block = BLOCK if each < SHORT_NS else 1
        count = int(min(most, max(FEWEST, ROUND_NS / each))) // block * block
        self.orders[contender.key] = {**order, "count": count, "warm": max(1, min(1000, count // 10)), "block": block}
        self.found[contender.key] = Sized()

    def back_to_back(self, contender: Contender, pair: Pair) -> None:
        """Run a round, and another one for latencies if the group wants them."""
        order = self.orders[contender.key]
        here = self.found[contender.key]
        report = pair.round(order)
        here.mean.append(report["mean"])
        if "p50" in report:
            here.p50.append(report["p50"])
        if self.size == self.group.latency:
            here.single.add(pair.round({**order, "kind": "single"})["histogram"])

    def paced(self, rate: int, contender: Contender, pair: Pair) -> None:
        """Run a round of calls that are due at a fixed rate."""
        here = self.found[contender.key]
        interval = 1_000_000_000 // rate
        # A limit for contenders that cannot keep up, whose rounds would take as long as their backlog.
        calls = min(PACED_NS / interval, 10 * PACED_NS / here.values[0])
        order = {"kind": "paced", "interval": interval, "count": max(FEWEST, int(calls))}
        began, busy = time.monotonic(), pair.answering_seconds()
        histogram = pair.round({**self.orders[contender.key], **order})["histogram"]
        if busy is not None and (after := pair.answering_seconds()) is not None:
            here.busy.setdefault(rate, []).append((after - busy) / (time.monotonic() - began))
        here.paced.setdefault(rate, Times()).add(histogram)
        here.paced_p50.setdefault(rate, []).append(Times(histogram).at(0.5))
