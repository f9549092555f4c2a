"""Break a copy of the library in one place after the other, and expect a model to fail each time.

Run by `make loom-mutants`. `mutants.txt` lists the places. Arguments choose the mutants whose names contain one of
them. The copy lies under target/. The models do not check the place of a mutant that passes every model.
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
    """A text of a file, and its replacement."""

    file: str
    old: str = ""
    new: str = ""


@dataclass
class Mutant:
    """A broken library."""

    name: str
    hunks: list[Hunk] = field(default_factory=list)

    def texts(self) -> dict[Path, tuple[str, str]]:
        """Return the changed files, each with its original and its broken text."""
        texts = {}
        for hunk in self.hunks:
            path = COPY / "tachyon" / "src" / hunk.file
            whole, broken = texts.get(path) or (path.read_text(), path.read_text())
            if broken.count(hunk.old) != 1:
                found = broken.count(hunk.old)
                sys.exit(f"{self.name}: {hunk.file} has changed: found {found} times, not once:\n{hunk.old}")
            texts[path] = whole, broken.replace(hunk.old, hunk.new)
        return texts


def mutants() -> list[Mutant]:
    """Read `mutants.txt`."""
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
    """Copy the library and the models."""
    shutil.rmtree(COPY, ignore_errors=True)
    for part in ("tachyon/src", "tests/loom"):
        # Without the original times: cargo would reuse the build of the last mutant.
        shutil.copytree(ROOT / part, COPY / part, copy_function=shutil.copy)
    manifest = (ROOT / "Cargo.toml").read_text()
    members = manifest[manifest.index("members = [") :].partition("]")[0] + "]"
    (COPY / "Cargo.toml").write_text(manifest.replace(members, 'members = ["tests/loom"]'))
    shutil.copy(ROOT / "Cargo.lock", COPY / "Cargo.lock")


def survives() -> bool:
    """Return whether every model passes."""
    command = ["cargo", "test", "--quiet", "--profile", "loom", "--package", "tachyon-loom", "--test", "models"]
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    settings = {"RUSTFLAGS": "--cfg loom", "CARGO_TARGET_DIR": str(Path(target) / "loom-mutants-build")}
    environment = os.environ | settings | {"RUST_BACKTRACE": "0"}
    began = monotonic()
    # `--nocapture`: a panic during a panic aborts, and the message of the first panic would be lost.
    ran = subprocess.run(
        [*command, "--", "--nocapture"], cwd=COPY, env=environment, capture_output=True, text=True, check=False
    )
    if "could not compile" in ran.stderr:
        sys.exit(f"{ran.stderr}\nthe models do not compile")
    failed = sorted(set(re.findall(r"^thread '([a-z_:]+)' \(\d+\) panicked", ran.stderr, re.MULTILINE)))
    noticed = ran.returncode != 0
    outcome = f"noticed by {', '.join(failed) or 'an abort'}" if noticed else "every model passes"
    print(f"    {outcome} ({monotonic() - began:.0f} s)", flush=True)
    return not noticed


def main() -> None:
    """Run the models over the unchanged library, and over each mutant."""
    copy()
    chosen = [mutant for mutant in mutants() if any(part in mutant.name for part in sys.argv[1:] or [""])]
    for mutant in chosen:
        mutant.texts()
    print("unchanged:", flush=True)
    if not survives():
        sys.exit("the models fail for the unchanged library")
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
