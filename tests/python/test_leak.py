"""A short run of `leak.py`, which `make leak` runs for ten million calls."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_calls_do_not_leak() -> None:
    script = Path(__file__).with_name("leak.py")
    run = [sys.executable, "-W", "error", str(script), "200000"]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
