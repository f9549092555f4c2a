"""The pictures of a run, drawn from its plain data by matplotlib."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import matplotlib as mpl

mpl.use("svg")
# The same data make the same file, and text stays text in the SVG.
mpl.rcParams.update({"svg.hashsalt": "tachyon", "svg.fonttype": "none", "font.size": 9})

from matplotlib import pyplot as plt  # noqa: E402 - after the backend is chosen
from matplotlib.axes import Axes  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

Plain: TypeAlias = dict[str, Any]

WIDTH, HEIGHT = 9.0, 4.6


def draw(results: Plain, folder: Path) -> list[tuple[str, str]]:
    """Draw the pictures for which there are data; return the files and their titles."""
    groups = {group["key"]: group for group in results["groups"]}
    wanted: list[tuple[str, str, Callable[[Axes], bool]]] = [
        ("latency-rust.svg", "Latency of 32 byte calls from Rust", lambda axes: latency(axes, groups.get("rpc"))),
        (
            "latency-languages.svg",
            "Latency of 32 byte calls between Rust and Python",
            lambda axes: latency(axes, groups.get("languages")),
        ),
        (
            "latency-paced.svg",
            "Latency of 32 byte calls from Rust that are due 2,000 times per second, from when they were due",
            lambda axes: latency(axes, groups.get("rpc"), "2000"),
        ),
        (
            "throughput.svg",
            "Payload moved there and back by round trips, over its length",
            lambda axes: throughput(axes, [groups.get("rpc"), groups.get("rpc-large")]),
        ),
        ("endpoints.svg", "Cost over the number of endpoints", lambda axes: endpoints(axes, groups.get("dispatch"))),
        (
            "callers.svg",
            "Cost over the number of callers of one server",
            lambda axes: callers(axes, results.get("callers")),
        ),
    ]
    drawn = []
    for file, title, plot in wanted:
        figure, axes = plt.subplots(figsize=(WIDTH, HEIGHT), layout="constrained")
        if plot(axes):
            axes.set_title(title)
            axes.grid(visible=True, which="major", alpha=0.3)
            figure.savefig(folder / file, metadata={"Date": None})
            drawn.append((file, title))
        plt.close(figure)
    return drawn


def legend(axes: Axes) -> None:
    """Put the legend beside the picture, where it hides no line."""
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))


def latency(axes: Axes, group: Plain | None, rate: str | None = None) -> bool:
    """Draw the part of the calls that took longer, over the time, on log axes."""
    for size in group["sizes"] if group else ():
        for row in size["rows"]:
            times = row.get("single") if rate is None else row.get("paced", {}).get(rate)
            if times is None:
                continue
            curve = [(time, 1 - part) for time, part in times["curve"] if part < 1]
            axes.step([time for time, _ in curve], [rest for _, rest in curve], where="post", label=row["title"])
    if not axes.lines:
        return False
    axes.set(xscale="log", yscale="log", xlabel="nanoseconds", ylabel="part of the calls that took longer")
    axes.set_yticks([0.5, 0.1, 0.01, 0.001, 0.0001], ["50 %", "10 %", "1 %", "0.1 %", "0.01 %"])
    axes.set_ylim(0.0001, 1)
    legend(axes)
    return True


def throughput(axes: Axes, groups: list[Plain | None]) -> bool:
    """Draw the bytes moved per second over the length of the payload."""
    series: dict[str, list[tuple[int, float]]] = {}
    titles: dict[str, str] = {}
    for group in groups:
        for size in group["sizes"] if group else ():
            for row in size["rows"]:
                if row["key"] != "floor":
                    moved = 2 * size["size"] / row["ns"][1] * 1e9 / (1 << 20)
                    series.setdefault(row["key"], []).append((size["size"], moved))
                    titles.setdefault(row["key"], row["title"])
    for key, points in series.items():
        axes.plot([size for size, _ in points], [moved for _, moved in points], marker="o", label=titles[key])
    if not series:
        return False
    axes.set(xscale="log", yscale="log", xlabel="payload in bytes", ylabel="MiB per second")
    legend(axes)
    return True


def endpoints(axes: Axes, group: Plain | None) -> bool:
    """Draw the round trip over the size of the table."""
    for size in group["sizes"] if group else ():
        rows = [row for row in size["rows"] if row["key"] != "floor"]
        counts = [int(row["key"].removeprefix("endpoints-")) for row in rows]
        middles = [row["ns"][1] for row in rows]
        below = [row["ns"][1] - row["ns"][0] for row in rows]
        above = [row["ns"][2] - row["ns"][1] for row in rows]
        axes.errorbar(counts, middles, yerr=[below, above], marker="o", capsize=3)
        axes.set(xscale="log", xlabel="endpoints, called in turn", ylabel="round trip, ns (quartiles)")
        axes.set_ylim(bottom=0)
        return True
    return False


def callers(axes: Axes, found: Plain | None) -> bool:
    """Draw the time per call over the number of callers."""
    if not found:
        return False
    rows = found["callers"]
    axes.plot([row["callers"] for row in rows], [1e9 / row["calls_per_second"] for row in rows], marker="o")
    axes.set(xscale="log", xlabel="callers, each with one call in flight", ylabel="time per call, ns")
    axes.set_ylim(bottom=0)
    return True
