"""The demo: Rust and Python call each other in four pairs of processes.

    make demo

or, after `make demo` has built everything:

    python examples/python/demo.py --calls 20000

Every pair makes the same calls on real input. The replies must be the same bytes in every pair, and agree with the
results that this program computes from the input.
"""

import argparse
import csv
import json
import math
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SYMBOLS = ("AAPL", "AMZN", "GOOG", "IBM", "MSFT")
HANDLER_FAILED = 2


class Failure(Exception):  # noqa: N818
    """An error that ends the demo, with a message for the user."""


@dataclass(frozen=True)
class Setup:
    """The paths, the number of calls, and the time limit in seconds."""

    binaries: Path
    input: Path
    calls: int
    limit: float

    def command(self, language: str, name: str, *args: object) -> list[str]:
        """Return the command that runs one of the examples."""
        program = [sys.executable, str(HERE / f"{name}.py")] if language == "Python" else [str(self.binaries / name)]
        return program + [str(arg) for arg in args]


class Child:
    """A process that writes its output to files, so that it never waits for a reader."""

    def __init__(self, title: str, command: list[str]) -> None:
        """Start the process."""
        self.title = title
        self.out = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `discard` closes it
        self.err = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err
        )

    def pin(self, core: int) -> None:
        """Pin the process to one core, so that two processes never compete for the same core."""
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(self.process.pid, {cores[core % len(cores)]})

    def output(self) -> str:
        """Return the output of the process."""
        self.out.seek(0)
        return self.out.read()

    def account(self) -> str:
        """Return the exit status and the standard error of the process."""
        self.err.seek(0)
        state = "still running" if self.process.poll() is None else f"exit status {self.process.returncode}"
        return f"--- {self.title}: {state}; its standard error:\n{self.err.read().strip() or '(nothing)'}"

    def discard(self) -> None:
        """Kill the process and close its files."""
        self.process.kill()
        self.process.wait()
        self.out.close()
        self.err.close()


def run_pair(setup: Setup, caller: str, callee: str) -> dict[str, Any]:
    """Run one caller against one callee and return the caller's report."""
    with tempfile.TemporaryDirectory(prefix="tachyon-") as directory:
        socket = Path(directory, "rpc.sock")
        commands = {
            f"{callee} callee": setup.command(callee, "rpc_callee", socket, setup.input / "stocks.csv"),
            f"{caller} caller": setup.command(
                caller, "demo_caller", socket, setup.input / "temperatures.f64", setup.calls
            ),
        }
        children: list[Child] = []
        try:
            for core, (title, command) in enumerate(commands.items()):
                children.append(Child(title, command))
                children[-1].pin(core)
            wait_for(children, setup.limit)
            report: dict[str, Any] = json.loads(children[-1].output())
        finally:
            for child in children:
                child.discard()
        if left := list(Path(directory).iterdir()):
            raise Failure(f"the processes left files behind: {left}")
        return report


def wait_for(children: list[Child], limit: float) -> None:
    """Wait until all processes have ended with success."""
    deadline = time.monotonic() + limit
    while any(child.process.poll() is None for child in children):
        if any(child.process.poll() for child in children):
            break
        if time.monotonic() > deadline:
            raise Failure("\n".join([f"not done after {limit:.0f} s", *(child.account() for child in children)]))
        time.sleep(0.02)
    if any(child.process.returncode != 0 for child in children):
        raise Failure("\n".join(["a process failed", *(child.account() for child in children)]))


def check(setup: Setup, report: dict[str, Any]) -> None:
    """Compare a report with the results that this program computes from the input by other means than the examples."""
    prices: defaultdict[str, list[float]] = defaultdict(list)
    with (setup.input / "stocks.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            prices[row["symbol"]].append(float(row["price"]))
    for symbol, reply in zip(SYMBOLS, report["stocks"], strict=True):
        by_price = sorted(prices[symbol])
        expect(symbol, unpack(reply), (prices[symbol][0], prices[symbol][-1], by_price[0], by_price[-1]))

    temperatures = [hour for (hour,) in struct.iter_unpack("<d", (setup.input / "temperatures.f64").read_bytes())]
    by_warmth = sorted(temperatures)
    count, warmest, lowest, highest, mean = unpack(report["temperatures"][0])
    found = (count, warmest, lowest, highest)
    expect("temperatures", found, (len(by_warmth), temperatures.index(by_warmth[-1]), by_warmth[0], by_warmth[-1]))
    # The examples round each sum, and `fsum` does not: the means may differ in the last bits.
    if not math.isclose(mean, math.fsum(temperatures) / len(temperatures), rel_tol=1e-12):
        raise Failure(f"the mean temperature is not {mean}")

    expect("the unknown stock", tuple(report["unknown"]), (HANDLER_FAILED, 1))
    if not len(report["small_ns"]) == len(report["large_ns"]) == setup.calls:
        raise Failure("the caller did not time every call")


def unpack(reply: list[int]) -> tuple[float, ...]:
    """Return the doubles of a reply."""
    return struct.unpack(f"<{len(reply) // 8}d", bytes(reply))


def expect(what: str, found: tuple[float, ...], right: tuple[float, ...]) -> None:
    """Raise a failure for a wrong result."""
    if found != right:
        raise Failure(f"{what}: {right} is right, the callee said {found}")


def percentile(times: list[int], share: float) -> str:
    """Return the time in microseconds that the part `share` of the calls does not exceed."""
    return f"{sorted(times)[int(share * (len(times) - 1))] / 1000:.2f}"


def table(reports: dict[str, dict[str, Any]], size: int) -> str:
    """Return a table of the reports, one pair per line."""
    rows = [["pair", "calls", "results", "small p50", "p99", f"{size // 1000} KB p50", "p99"]]
    for pair, report in reports.items():
        small, large = report["small_ns"], report["large_ns"]
        times = [percentile(each, share) for each in (small, large) for share in (0.5, 0.99)]
        rows.append([pair, f"{len(small) + len(large):,}", "equal", *times])
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        lines.append("  ".join(cells))
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def run(setup: Setup) -> None:
    """Run the four pairs and print the table."""
    size = (setup.input / "temperatures.f64").stat().st_size
    print(f"One process serves two functions, and another process calls each {setup.calls:,} times:")
    print("  small: a stock symbol -> first, last, lowest and highest price (32 bytes)")
    print(f"  large: {size // 8:,} hourly temperatures, {size:,} bytes -> their summary (40 bytes)")
    reports: dict[str, dict[str, Any]] = {}
    for caller in ("Rust", "Python"):
        for callee in ("Rust", "Python"):
            pair = f"{caller} -> {callee}"
            print(f"{pair} ... ", end="", flush=True)
            start = time.monotonic()
            report = run_pair(setup, caller, callee)
            check(setup, report)
            reports[pair] = report
            print(f"right, {time.monotonic() - start:.1f} s", flush=True)
    if len({json.dumps([report["stocks"], report["temperatures"]]) for report in reports.values()}) != 1:
        raise Failure("the pairs do not agree to the last byte")
    print()
    print(table(reports, size))
    print()
    cores = "its own core" if len(os.sched_getaffinity(0)) > 1 else "to share one core with the other"
    print(f"Round trips in microseconds, with the time of the functions; each process had {cores}.")
    print("The replies of all pairs are equal to the byte, and agree with the results that this program computes. In")
    print("each pair, a call with an unknown stock gave an error.")


def main(description: str, calls: int, run: Callable[[Setup], None]) -> None:
    """Read the arguments, run, and turn a failure into a message and an exit status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--calls", type=int, default=calls, help="calls of each function in each pair (%(default)s)")
    parser.add_argument("--limit", type=float, default=120.0, help="time limit of a pair in seconds (%(default)s)")
    parser.add_argument("--binaries", type=Path, default=ROOT / "target/release", help="folder of the Rust examples")
    parser.add_argument("--input", type=Path, default=ROOT / ".demo", help="folder that demo_input.py wrote")
    setup = Setup(**vars(parser.parse_args()))
    # SIGTERM ends the children with this program, like Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    try:
        run(setup)
    except Failure as failure:
        sys.exit(f"failed: {failure}")
    except KeyboardInterrupt:
        sys.exit("interrupted")


if __name__ == "__main__":
    main("Rust and Python call each other in four pairs of processes.", 20_000, run)
