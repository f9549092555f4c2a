"""Count the instructions of operations by callgrind, and compare them with the kept counts.

    instructions.py check|update --built target/release

The script runs an operation in two numbers under callgrind. The difference of the instructions, divided by the
difference of the numbers, is the cost of one operation. Python operations run in this interpreter.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

HERE = Path(__file__).parent
KEPT = HERE.parent / "callgrind" / "instructions.toml"
VALGRIND = shutil.which("valgrind") or "valgrind"
TOLERANCE = 0.03
# The count of a Python call differs by up to 8 % between runs of one build.
PYTHON_CALLS_TOLERANCE = 0.06
DISPATCH_TOLERANCE = 3
"""Instructions by which two dispatches may differ, as `equal` explains."""
TRIES = 3
RECOUNTS = 2
LIMIT = 120.0

RUST = (
    "round-trip-32",
    "round-trip-64",
    "round-trip-176",
    "round-trip-1024",
    "one-way-32",
    "one-way-1024",
    "batch-32",
    "fixed-3",
    "fields-3",
    "fields-option",
    "fields-list",
    "fields-text",
    "fields-texts-10",
    "dispatch-1",
    "dispatch-1000",
)
PYTHON = (
    "python-round-trip",
    "python-bytes",
    "python-call",
    "python-call-bytes",
    "python-call-arguments",
    "python-one-way",
)

FEW, MANY = {"rust": 1000, "python": 500}, {"rust": 3000, "python": 1500}

HEAD = """\
# Instructions per operation of both sides together, counted by callgrind. `make instructions-update` writes this file;
# benches/callgrind/src/main.rs and benches/python/count_python.py contain the operations. `make instructions` fails if
# an operation grows by more than 3 % (6 % for Python's typed calls, which vary from run to run), and asks for an update
# if one falls by as much.
"""


def main() -> int:
    """Count, then check or update."""
    parser = argparse.ArgumentParser(description="Count instructions.")
    parser.add_argument("what", choices=("check", "update"))
    parser.add_argument("--built", type=Path, required=True, help="the folder of the built program `count`")
    options = parser.parse_args()
    rust, python = [str(options.built / "count")], [sys.executable, "-P", str(HERE / "count_python.py")]
    counted = count_all(rust, python, (*RUST, *PYTHON))
    if options.what == "update":
        KEPT.write_text(written(counted))
        print(written(counted).removeprefix(HEAD), end="")
        return 0
    kept = tomllib.loads(KEPT.read_text())["instructions"]
    for _ in range(RECOUNTS):
        # Two threads that wait for each other do not always alternate in the same way: count grown operations again.
        grown = [name for name in counted if name in kept and counted[name] > kept[name] * (1 + TOLERANCE)]
        again = count_all(rust, python, grown)
        counted |= {name: min(counted[name], again[name]) for name in grown}
    lines, failed = compare(kept, counted)
    print("\n".join(lines))
    if failed:
        print("make instructions-update writes these counts into benches/callgrind/instructions.toml;")
        print("commit the file with the change that explains the difference")
    return int(failed)


def count_all(rust: list[str], python: list[str], wanted: Sequence[str]) -> dict[str, float]:
    """Count the instructions of each operation. A run has one core, so that its threads alternate in the same way."""
    cores = SimpleQueue[int]()
    for core in os.sched_getaffinity(0):
        cores.put(core)
    with ThreadPoolExecutor(cores.qsize(), initializer=lambda: os.sched_setaffinity(0, {cores.get()})) as pool:
        # Long runs start first, for a shorter total time.
        runs = {name: ([*python, name], FEW["python"], MANY["python"]) for name in PYTHON}
        runs |= {name: ([*rust, name], FEW["rust"], MANY["rust"]) for name in RUST}
        runs = {name: run for name, run in runs.items() if name in wanted}
        totals = {
            name: [pool.submit(total, [*command, str(number)]) for number in (many, few)]
            for name, (command, few, many) in runs.items()
        }
        return {name: per_operation(runs[name][1:], totals[name]) for name in (*RUST, *PYTHON) if name in wanted}


def per_operation(numbers: tuple[int, int], totals: list[Future[int]]) -> float:
    """Divide the difference of two runs."""
    few, many = numbers
    more, fewer = (run.result() for run in totals)
    return round((more - fewer) / (many - few), 1)


def total(command: list[str]) -> int:
    """Count the instructions of a whole run. Repeat a failed run: valgrind is slow, and handshakes have a timeout."""
    for _ in range(TRIES - 1):
        found = run(command)
        if isinstance(found, int):
            return found
    found = run(command)
    if isinstance(found, int):
        return found
    raise SystemExit(found)


def run(command: list[str]) -> int | str:
    """Run a program under callgrind and return its instructions, or the error."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        try:
            ran = subprocess.run(  # noqa: S603
                [VALGRIND, "--tool=callgrind", "--fair-sched=yes", f"--callgrind-out-file={out}", *command],
                env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                check=False,
                timeout=LIMIT,
            )
        except subprocess.TimeoutExpired:
            return f"{' '.join(command)} under valgrind: not finished after {LIMIT:.0f} s"
        if ran.returncode != 0:
            return f"{' '.join(command)} under valgrind: exit status {ran.returncode}\n{ran.stderr[-2000:]}"
        found: list[str] = re.findall(r"^(?:totals|summary): (\d+)", out.read_text(), re.MULTILINE)
        return int(found[-1])


def compare(kept: dict[str, float], counted: dict[str, float]) -> tuple[list[str], bool]:
    """Compare counts with the kept counts; return the lines to print, and whether the check fails.

    >>> compare({"a": 100.0}, {"a": 102.0})
    (['                a      102.0  +2.0 %  of      100.0'], False)
    >>> compare({"a": 100.0}, {"a": 104.0})[1], compare({"a": 100.0}, {"a": 90.0})[1], compare({}, {"a": 1.0})[1]
    (True, True, True)
    """
    lines = []
    failed = False
    for name, value in counted.items():
        if name not in kept:
            lines.append(f"{name:>17} {value:10.1f}  is not in instructions.toml")
            failed = True
            continue
        growth = value / kept[name] - 1
        tolerance = PYTHON_CALLS_TOLERANCE if name.startswith("python-call") else TOLERANCE
        line = f"{name:>17} {value:10.1f}  {growth:+.1%}  of {kept[name]:10.1f}".replace("%", " %")
        if growth > tolerance:
            line += "  HAS GROWN"
        elif growth < -tolerance:
            line += "  has fallen: run make instructions-update"
        failed |= abs(growth) > tolerance
        lines.append(line)
    for name in kept.keys() - counted.keys():
        lines.append(f"{name:>17} is in instructions.toml, and no operation has this name")
        failed = True
    if {"dispatch-1", "dispatch-1000"} <= counted.keys() and not equal(counted["dispatch-1"], counted["dispatch-1000"]):
        lines.append("the instructions of a dispatch depend on the number of endpoints")
        failed = True
    return lines, failed


def equal(one: float, other: float) -> bool:
    """Return whether two operations take the same instructions.

    The threads of a run interleave differently each time, which moves an average by up to two instructions. One step of
    a search takes more.

    >>> equal(500.0, 501.2), equal(500.0, 503.0)
    (True, False)
    """
    return abs(one - other) < DISPATCH_TOLERANCE


def written(counted: dict[str, float]) -> str:
    """Write the file."""
    return HEAD + "[instructions]\n" + "".join(f"{name} = {value}\n" for name, value in counted.items())


if __name__ == "__main__":
    sys.exit(main())
