"""Medians with their quartiles, ratios of paired rounds, percentiles of counted times."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

NEAR = 220.0
FAR = 300.0
"""Bounds for the floor's round trip in nanoseconds: two cores count as near up to NEAR, and as far from FAR on."""


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it."""

    low: float
    median: float
    high: float

    def text(self, digits: int = 2) -> str:
        """Return the text `median [low, high]`.

        >>> Spread(1.0, 1.25, 2.0).text()
        '1.25 [1.00, 2.00]'
        """
        return f"{self.median:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def spread(values: Sequence[float]) -> Spread:
    """Summarise values. A single value has no spread.

    >>> spread([4.0, 1.0, 2.0, 3.0])
    Spread(low=1.75, median=2.5, high=3.25)
    """
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Spread(low, median(values), high)


def ratio(over: Sequence[float], under: Sequence[float]) -> Spread:
    """Divide round by round, then summarise: a disturbance of both rounds of a pair cancels out.

    >>> ratio([10.0, 40.0, 20.0], [5.0, 20.0, 10.0])
    Spread(low=2.0, median=2.0, high=2.0)
    """
    return spread([a / b for a, b in zip(over, under, strict=True)])


def placement(floors: Sequence[float]) -> str:
    """Describe the distance of the two cores, from the floor's round trips in nanoseconds.

    >>> placement([110.0, 112.0, 120.0])
    'near, 112 ns'
    >>> placement([110.0, 370.0, 372.0])
    'mixed, 1 near and 2 far of 3 rounds, 370 ns'
    """
    near = sum(floor <= NEAR for floor in floors)
    far = sum(floor >= FAR for floor in floors)
    middle = f"{median(floors):.0f} ns"
    if near == len(floors):
        return f"near, {middle}"
    if far == len(floors):
        return f"far, {middle}"
    return f"mixed, {near} near and {far} far of {len(floors)} rounds, {middle}"


class Times:
    """Times with their number of calls."""

    def __init__(self, counted: Iterable[tuple[int, int]] = ()) -> None:
        """Begin with counted times."""
        self.counts: dict[int, int] = {}
        self.add(counted)

    def add(self, counted: Iterable[tuple[int, int]]) -> None:
        """Add counted times."""
        for time, count in counted:
            self.counts[time] = self.counts.get(time, 0) + count

    @property
    def total(self) -> int:
        """The number of counted calls."""
        return sum(self.counts.values())

    def at(self, quantile: float) -> int:
        """Return the time that the part `quantile` of the calls does not exceed.

        >>> Times([(10, 98), (500, 1), (9000, 1)]).at(0.99)
        500
        """
        wanted = quantile * self.total
        seen = 0
        for time in sorted(self.counts):
            seen += self.counts[time]
            if seen >= wanted - 1e-9:
                return time
        message = "no times were counted"
        raise ValueError(message)

    def curve(self, most: int = 120) -> list[tuple[int, float]]:
        """Return the cumulative distribution in about `most` steps, denser in the tail."""
        points: list[tuple[int, float]] = []
        seen = 0
        last = 0.0
        total = self.total
        for time in sorted(self.counts):
            seen += self.counts[time]
            part = seen / total
            # The size of a step is relative to the rest of the distribution, so that the tail keeps its points.
            if not points or seen == total or part - last >= (1 - last) / most * 4:
                points.append((time, part))
                last = part
        return points
