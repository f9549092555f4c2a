"""The results of a run as plain data: the JSON file, from which the tables and the pictures are made."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from bench.contenders import Contender
from bench.groups import Group
from bench.measure import Measured, Sized
from bench.ratios import Times, placement, ratio, spread
from bench.targets import Verdict

Plain: TypeAlias = dict[str, Any]

QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999, 1.0)


def plain_group(measured: Measured) -> Plain:
    """Return the results of a group as plain data."""
    group = measured.group
    titles = {contender.key: contender.title for contender in group.contenders}
    return {
        "key": group.key,
        "title": group.title,
        "stream": group.stream,
        "capacity": group.capacity,
        "sizes": [plain_size(group, size, found) for size, found in measured.sized.items()],
        "missing": {titles[key]: needs for key, needs in measured.missing.items()},
        "failed": {titles[key]: why for key, why in measured.failed.items()},
    }


def plain_size(group: Group, size: int, found: Mapping[str, Sized]) -> Plain:
    """Return the results of one size as plain data."""
    floors = found["floor"].values if "floor" in found else []
    return {
        "size": size,
        "cores": placement(floors) if floors else "unknown",
        "rows": [
            plain_row(group, contender, found[contender.key], floors)
            for contender in group.contenders
            if contender.key in found
        ],
    }


def plain_row(group: Group, contender: Contender, sized: Sized, floors: Sequence[float]) -> Plain:
    """Return the results of one contender as plain data."""
    row: Plain = {
        "key": contender.key,
        "title": contender.title,
        "rounds": [round(value, 2) for value in sized.values],
        "ns": plain_spread(spread(sized.values)),
    }
    if floors and not (group.stream or contender.key == "floor"):
        row["over_floor"] = plain_spread(ratio(sized.values, floors))
    if sized.single.total:
        row["single"] = plain_times(sized.single)
    if sized.paced:
        row["paced"] = {str(rate): plain_times(times) for rate, times in sized.paced.items()}
        row["busy"] = {str(rate): round(spread(busy).median, 4) for rate, busy in sized.busy.items()}
    return row


def plain_spread(found: Any) -> list[float]:  # noqa: ANN401 - a Spread
    """Return a spread as plain data: lower quartile, median, upper quartile."""
    return [round(found.low, 4), round(found.median, 4), round(found.high, 4)]


def plain_times(times: Times) -> Plain:
    """Return counted times as plain data: percentiles and the curve of their distribution."""
    return {
        "count": times.total,
        "quantiles": {f"{quantile:g}": times.at(quantile) for quantile in QUANTILES},
        "curve": [[time, round(part, 6)] for time, part in times.curve()],
    }


def plain_verdict(verdict: Verdict) -> Plain:
    """Return a verdict as plain data."""
    return {
        "title": verdict.title,
        "wanted": verdict.wanted,
        "measured": plain_spread(verdict.measured) if verdict.measured else None,
        "verdict": verdict.word,
        "cores": verdict.where,
    }
