"""The machine, date and commit of a run, without host names and paths."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path


def describe(root: Path) -> dict[str, str | int | bool]:
    """Describe this machine and the tree at `root`."""
    return {
        "cpu": cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "rustc": first_line(["rustc", "--version"], root),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": first_line(["git", "rev-parse", "--short=10", "HEAD"], root),
        "changed": bool(
            first_line(["git", "status", "--porcelain", "--", "tachyon", "tachyon-macros", "tachyon-py"], root)
        ),
    }


def cpu() -> str:
    """Return the processor's name, and whether it belongs to a virtual machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    name = fields.get("model name", platform.machine())
    return f"{name} (virtual)" if "hypervisor" in fields.get("flags", "").split() else name


def first_line(command: list[str], root: Path) -> str:
    """Return the first line of a command's output; empty if the command fails."""
    try:
        out = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
    return out.partition("\n")[0]
