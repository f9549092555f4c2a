"""Breaks the library in one place after the other, and expects a model to notice each time.

`make loom-mutants`. `mutants.txt` has the places; arguments choose the mutants whose names contain one of them. The
library itself stays as it is: a copy of it is broken, under target/. A mutant that passes every model is a place that
the models do not check.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).parents[2]
COPY = ROOT / "target" / "loom-mutants"


@dataclass
class Hunk:
    """A text of a file, and what it becomes."""

    file: str
    old: str = ""
    new: str = ""


@dataclass
class Mutant:
    """A broken library."""

    name: str
    hunks: list[Hunk] = field(default_factory=list)

    def texts(self) -> dict[Path, tuple[str, str]]:
        """The files that change: their texts as they are, and broken."""
        texts = {}
        for hunk in self.hunks:
            path = COPY / "tachyon" / "src" / hunk.file
            whole, broken = texts.get(path) or (path.read_text(), path.read_text())
            if broken.count(hunk.old) != 1:
                sys.exit(f"{self.name}: {hunk.file} has changed: {broken.count(hunk.old)} times there is\n{hunk.old}")
            texts[path] = whole, broken.replace(hunk.old, hunk.new)
        return texts


def mutants() -> list[Mutant]:
    """Reads `mutants.txt`."""
    found: list[Mutant] = []
    file, hunk = "", None
    for line in (Path(__file__).parent / "mutants.txt").read_text().splitlines():
        if line.startswith("## "):
            found.append(Mutant(line[3:]))
            hunk = None
        elif line.startswith("--- "):
            file, hunk = line[4:], None
        elif line == "@@":
            hunk = Hunk(file)
            found[-1].hunks.append(hunk)
        elif hunk and line:
            hunk.old += f"{line[1:]}\n" if line[0] in " -" else ""
            hunk.new += f"{line[1:]}\n" if line[0] in " +" else ""
        else:
            hunk = None
    return found


def copy() -> None:
    """Makes the copy that is broken."""
    shutil.rmtree(COPY, ignore_errors=True)
    for part in ("tachyon/src", "tests/loom"):
        # New times, or cargo would take what it built of the last broken copy for this one.
        shutil.copytree(ROOT / part, COPY / part, copy_function=shutil.copy)
    manifest = (ROOT / "Cargo.toml").read_text()
    members = manifest[manifest.index("members = [") :].partition("]")[0] + "]"
    (COPY / "Cargo.toml").write_text(manifest.replace(members, 'members = ["tests/loom"]'))
    shutil.copy(ROOT / "Cargo.lock", COPY / "Cargo.lock")


def survives() -> bool:
    """Whether every model passes."""
    command = ["cargo", "test", "--quiet", "--profile", "loom", "--package", "tachyon-loom", "--test", "models"]
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    settings = {"RUSTFLAGS": "--cfg loom", "CARGO_TARGET_DIR": str(Path(target) / "loom-mutants-build")}
    environment = os.environ | settings | {"RUST_BACKTRACE": "0"}
    began = monotonic()
    # Not captured: a panic during a panic aborts, and the message of the first one would be lost.
    ran = subprocess.run(
        [*command, "--", "--nocapture"], cwd=COPY, env=environment, capture_output=True, text=True, check=False
    )
    if "could not compile" in ran.stderr:
        sys.exit(f"{ran.stderr}\nthe models could not be built")
    failed = sorted(set(re.findall(r"^thread '([a-z_:]+)' \(\d+\) panicked", ran.stderr, re.MULTILINE)))
    noticed = ran.returncode != 0
    said = f"noticed by {', '.join(failed) or 'an abort'}" if noticed else "every model passes"
    print(f"    {said} ({monotonic() - began:.0f} s)", flush=True)
    return not noticed


def main() -> None:
    """Runs the models over the library as it is, and over each mutant."""
    copy()
    chosen = [mutant for mutant in mutants() if any(part in mutant.name for part in sys.argv[1:] or [""])]
    for mutant in chosen:
        mutant.texts()
    print("nothing is broken:", flush=True)
    if not survives():
        sys.exit("the models fail as it is")
    survivors = []
    for mutant in chosen:
        print(f"{mutant.name}:", flush=True)
        texts = mutant.texts()
        for path, (_, broken) in texts.items():
            path.write_text(broken)
        if survives():
            survivors.append(mutant.name)
        for path, (whole, _) in texts.items():
            path.write_text(whole)
    shutil.rmtree(COPY)
    if survivors:
        sys.exit(f"no model noticed: {'; '.join(survivors)}")
    print(f"{len(chosen)} mutants, each noticed")


main()
