"""The programs of the repository that tests run: those of the tests, the examples, and the command `tachyon`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = Path(os.environ.get("TACHYON_EXAMPLES", ROOT / "target/release"))
PROGRAMS = Path(os.environ.get("TACHYON_PROGRAMS", ROOT / "target/debug"))
PYTHON = [sys.executable, "-X", "dev", "-W", "error"]


def program(name: str) -> str:
    """Return the path of a Rust program of the crate `tachyon-tests`."""
    found = PROGRAMS / name
    assert found.exists(), f"{found} is not built: run `cargo build -p tachyon-tests`, or set TACHYON_PROGRAMS"
    return str(found)


def tachyon_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command `tachyon`."""
    command = [sys.executable, "-W", "error", "-m", "tachyon", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def tachyon(*arguments: object, status: int = 0) -> str:
    """Run the command `tachyon`, which must end with `status`; return the output, or the errors of a failure."""
    process = tachyon_command(*arguments)
    assert process.returncode == status, process.stderr
    return process.stderr if status else process.stdout
