"""The Markdown page of a run, from its plain data."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

Plain: TypeAlias = dict[str, Any]

THOUSAND = 1e3
MILLION = 1e6
SHORT = 100.0
UNITS = (("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9))
"""Units of time and their nanoseconds. Times below `SHORT` nanoseconds get a decimal."""

INTRODUCTION = """\
`make bench-results` writes this page. The method and its limits are in
[docs/internals/benchmarks.md](../../docs/internals/benchmarks.md).
Figures are medians over rounds with their quartiles in brackets. Ratios are medians of the ratios of paired rounds.
Only ratios can be compared with another run or another machine.
"""


def page(results: Plain, pictures: Sequence[tuple[str, str]]) -> str:
    """Write the page."""
    return "\n".join(lines(results, pictures)).rstrip() + "\n"


def lines(results: Plain, pictures: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Write the page line by line."""
    yield "# Results"
    yield ""
    yield INTRODUCTION
    yield from about(results["machine"], results["rounds"])
    yield "## Targets"
    yield ""
    yield from table(
        ("measure", "target", "measured", "", "cores"),
        [
            (row["title"], row["wanted"], bracketed(row["measured"]), row["verdict"], row["cores"])
            for row in results["targets"]
        ],
    )
    for file, title in pictures:
        yield f"![{title}]({file})"
        yield ""
    for group in results["groups"]:
        yield from group_lines(group)
    if callers := results.get("callers"):
        yield from callers_lines(callers)
    if counts := results.get("instructions"):
        yield "## Instructions"
        yield ""
        yield "Executed per operation, both sides together, counted by callgrind."
        yield ""
        yield from table(("operation", "instructions"), [(key, f"{value:,.1f}") for key, value in counts.items()])


def about(machine: Plain, rounds: int) -> Iterator[str]:
    """Write the machine and the versions."""
    changed = ", with uncommitted changes" if machine["changed"] else ""
    yield f"- {machine['date']}, commit `{machine['commit']}`{changed}, {rounds} rounds"
    yield f"- {machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}"
    yield f"- {machine['rustc']}, Python {machine['python']}"
    yield ""


def group_lines(group: Plain) -> Iterator[str]:
    """Write the tables of a group."""
    yield f"## {group['title']}"
    yield ""
    for size in group["sizes"]:
        yield f"{size_text(size['size'])}; cores {size['cores']}"
        yield ""
        yield from stream_table(size) if group["stream"] else call_table(size)
    for size in group["sizes"]:
        yield from latency_tables(size)
    for title, needs in group["missing"].items():
        yield f"- missing: {title} ({needs.replace(':', ' ')})"
    for title, why in group["failed"].items():
        yield f"- failed: {title}: `{why.splitlines()[0]}`"
    if group["missing"] or group["failed"]:
        yield ""


def call_table(size: Plain) -> Iterator[str]:
    """Write the round trips with one size."""
    yield from table(
        ("", "round trip, p50", "over the floor"),
        [(row["title"], time_text(row["ns"]), bracketed(row.get("over_floor"))) for row in size["rows"]],
    )


def stream_table(size: Plain) -> Iterator[str]:
    """Write the one-way messages with one size."""
    yield from table(
        ("", "per message", "messages per second", "MiB per second"),
        [
            (
                row["title"],
                time_text(row["ns"]),
                rate_text(1e9 / row["ns"][1]),
                f"{size['size'] * 1e9 / row['ns'][1] / (1 << 20):,.0f}",
            )
            for row in size["rows"]
            if row["key"] != "floor"
        ],
    )


def latency_tables(size: Plain) -> Iterator[str]:
    """Write the percentiles: back to back, and at every fixed rate."""
    rows = [(row["title"], row["single"]) for row in size["rows"] if "single" in row]
    if rows:
        yield f"Each call timed, {size_text(size['size'])}, back to back:"
        yield ""
        yield from percentiles(rows)
    for rate in sorted({rate for row in size["rows"] for rate in row.get("paced", {})}, key=int):
        yield f"At {int(rate):,} calls per second, each call timed from the moment when it was due:"
        yield ""
        yield from percentiles(
            [(row["title"], row["paced"][rate]) for row in size["rows"] if rate in row.get("paced", {})],
            interval=1e9 / int(rate),
        )


def percentiles(rows: Sequence[tuple[str, Plain]], interval: float | None = None) -> Iterator[str]:
    """Write percentiles. A contender whose median is later than ten intervals cannot keep up."""
    header = ("", "calls", "p50", "p90", "p99", "p99.9", "p99.99", "max")
    body = []
    for title, times in rows:
        quantiles = times["quantiles"]
        behind = interval is not None and quantiles["0.5"] > 10 * interval
        name = f"{title} (falls behind)" if behind else title
        body.append((name, f"{times['count']:,}", *(time_text([value] * 3) for value in quantiles.values())))
    yield from table(header, body)


def callers_lines(callers: Plain) -> Iterator[str]:
    """Write the cost of many callers of one server."""
    yield "## Many callers of one server"
    yield ""
    yield "One server with one thread, and one process with a call of every caller in flight."
    yield ""
    yield from table(
        ("callers", "calls per second", "p50", "p99", "KiB per caller"),
        [
            (
                f"{row['callers']}",
                rate_text(row["calls_per_second"]),
                time_text([row["p50_ns"]] * 3),
                time_text([row["p99_ns"]] * 3),
                f"{row['bytes_per_caller'] / 1024:.0f}",
            )
            for row in callers["callers"]
        ],
    )
    low, middle, high = callers["flooded_p99_over_alone"]
    yield "p99 of a caller beside a flooding caller, over its p99 beside an equally busy process:"
    yield f"{middle:.2f} (lowest {low:.2f}, highest {high:.2f})."
    yield ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Write a table with right-aligned numbers."""
    yield "| " + " | ".join(header) + " |"
    yield "|---" + "|---:" * (len(header) - 1) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def bracketed(found: Sequence[float] | None) -> str:
    """Write a ratio with its quartiles.

    >>> bracketed([1.0, 1.254, 1.3])
    '1.25 [1.00, 1.30]'
    """
    return "" if found is None else f"{found[1]:.2f} [{found[0]:.2f}, {found[2]:.2f}]"


def time_text(found: Sequence[float]) -> str:
    """Write a time in a suitable unit, with its quartiles unless they are equal.

    >>> time_text([100.0, 112.4, 130.0]), time_text([1500.0, 1500.0, 1500.0])
    ('112 ns [100, 130]', '1.50 us')
    """
    low, middle, high = found
    unit, by = next(((unit, by) for unit, by in UNITS if middle < THOUSAND * by), UNITS[-1])
    digits = 2 if by > 1 else 1 if middle < SHORT else 0
    text = f"{middle / by:.{digits}f} {unit}"
    return text if low == high else f"{text} [{low / by:.{digits}f}, {high / by:.{digits}f}]"


def rate_text(rate: float) -> str:
    """Write a rate per second.

    >>> rate_text(12_345_678.0), rate_text(4321.0)
    ('12.35 M', '4 k')
    """
    return f"{rate / MILLION:.2f} M" if rate >= MILLION else f"{rate / THOUSAND:.0f} k"


def size_text(size: int) -> str:
    """Write a length.

    >>> size_text(32), size_text(65536), size_text(1 << 20)
    ('32 B', '64 KiB', '1 MiB')
    """
    for unit, by in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= by and size % by == 0:
            return f"{size // by} {unit}"
    return f"{size} B"
