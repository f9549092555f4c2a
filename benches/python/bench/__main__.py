"""Run the groups and write the results.

python -m bench --binaries target/release --results target/bench [--peers DIRECTORY] [--rounds 15] [--only rpc,stream]
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from bench import pictures, tables
from bench.contenders import Tools
from bench.groups import GROUPS
from bench.machine import describe
from bench.measure import Measured, Runner
from bench.results import plain_group, plain_verdict
from bench.targets import BUSY, TARGETS, Verdict, judge, judge_busy, judge_dispatch

HERE = Path(__file__).parent.parent
ROOT = HERE.parent.parent
INSTRUCTIONS = ROOT / "benches" / "callgrind" / "instructions.toml"
CALLERS_SECONDS = 180.0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure Tachyon beside its peers.")
    parser.add_argument("--binaries", type=Path, required=True, help="the folder of contender and callers")
    parser.add_argument("--results", type=Path, required=True, help="the folder for the results")
    parser.add_argument("--peers", type=Path, help="the folder in which make bench-peers built the peers")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each contender (default 15)")
    parser.add_argument("--only", default="", help="groups, separated by commas: " + ", ".join(group_names()))
    parser.add_argument("--cores", default="", help="the two cores to use, such as 0,1")
    return parser.parse_args()


def group_names() -> list[str]:
    """Return the names for `--only`."""
    return [*(group.key for group in GROUPS), "callers"]


def two_cores(wanted: str) -> tuple[int, int]:
    """Return the requested cores, or the first two that are allowed."""
    allowed = sorted(os.sched_getaffinity(0))
    cores = [int(core) for core in wanted.split(",")] if wanted else allowed[:2]
    match cores:
        case [first, second] if first != second and {first, second} <= set(allowed):
            return first, second
    sys.exit(f"the benchmarks need two cores of {allowed}")


def tools(options: argparse.Namespace) -> Tools:
    """Find the programs and the built peers."""
    peers: Path | None = options.peers
    if peers is None or not peers.is_dir():
        return Tools(options.binaries, Path(sys.executable), HERE / "contenders")
    built = tomllib.loads((peers / "built.toml").read_text())
    return Tools(
        options.binaries,
        Path(sys.executable),
        HERE / "contenders",
        peers / "peer",
        peers / "venv" / "bin" / "python",
        frozenset(built["crates"]),
        frozenset(packages(peers / "venv")),
    )


def packages(venv: Path) -> list[str]:
    """Return the names of the packages in an environment."""
    folders = [str(folder) for folder in venv.glob("lib/python3*/site-packages")]
    return [found.metadata["Name"] for found in distributions(path=folders)]


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def run_callers(binaries: Path) -> dict[str, Any] | None:
    """Run the program that measures many callers."""
    try:
        out = subprocess.run(  # noqa: S603
            [str(binaries / "callers"), "--json"], capture_output=True, text=True, check=True, timeout=CALLERS_SECONDS
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        say(f"    failed: {error}")
        return None
    found: dict[str, Any] = json.loads(out)
    return found


def counted() -> dict[str, float]:
    """Return the counts of instructions.toml."""
    if not INSTRUCTIONS.exists():
        return {}
    return {key: float(value) for key, value in tomllib.loads(INSTRUCTIONS.read_text())["instructions"].items()}


def verdicts(measured: dict[str, Measured], counts: dict[str, float]) -> list[Verdict]:
    """Judge every target."""
    dispatch = (counts.get("dispatch-1"), counts.get("dispatch-1000"))
    one, thousand = dispatch
    both = (one, thousand) if one is not None and thousand is not None else None
    ratios = (judge(target, measured) for target in TARGETS)
    return [*ratios, *(judge_busy(row, measured) for row in BUSY), judge_dispatch(both)]


def show(group: Measured) -> None:
    """Print the results of a group, as in the page."""
    for line in tables.group_lines(plain_group(group)):
        say(line)


def main() -> int:
    """Measure, write, judge. Return 1 if a contender of Tachyon failed."""
    options = arguments()
    # SIGTERM ends this process like Ctrl-C, together with its children.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    wanted = set(filter(None, options.only.split(","))) or set(group_names())
    if unknown := wanted - set(group_names()):
        sys.exit(f"no such group: {', '.join(sorted(unknown))}; the groups are {', '.join(group_names())}")
    runner = Runner(tools(options), two_cores(options.cores), options.rounds, str(os.getpid()), say)
    measured: dict[str, Measured] = {}
    for group in GROUPS:
        if group.key in wanted:
            say(f"==> {group.title}")
            measured[group.key] = runner.run(group)
            show(measured[group.key])
    callers = None
    if "callers" in wanted:
        say("==> Many callers of one server")
        callers = run_callers(options.binaries)
    counts = counted()
    judged = verdicts(measured, counts)
    results = {
        "machine": describe(ROOT),
        "rounds": options.rounds,
        "targets": [plain_verdict(verdict) for verdict in judged],
        "groups": [plain_group(group) for group in measured.values()],
        "callers": callers,
        "instructions": counts,
    }
    write(results, options.results)
    for verdict in judged:
        found = verdict.measured.text() if verdict.measured else ""
        say(f"{verdict.word:>12}  {verdict.title}: {found}, wanted {verdict.wanted}  ({verdict.where or 'no figure'})")
    missing = sorted({needs for group in measured.values() for needs in group.missing.values()})
    if missing:
        say(f"missing peers: {', '.join(missing)}; make bench-peers installs them")
    ours_failed = [
        key
        for group in measured.values()
        for key in group.failed
        if not any(c.needs for c in group.group.contenders if c.key == key)
    ]
    return 1 if ours_failed or ("callers" in wanted and callers is None) else 0


def write(results: dict[str, Any], folder: Path) -> None:
    """Write the JSON file, the pictures and the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, separators=(",", ":")) + "\n")
    drawn = pictures.draw(results, folder)
    (folder / "README.md").write_text(tables.page(results, drawn))
    say(f"written: {folder}/README.md, results.json and {len(drawn)} pictures")


if __name__ == "__main__":
    sys.exit(main())
