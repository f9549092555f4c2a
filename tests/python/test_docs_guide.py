"""The Python of the guide runs.

The service of `docs/guide/python.md` runs in a process of its own, the other programs of the page against it.
"""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tachyon import RpcBus

GUIDE = Path(__file__).parents[2] / "docs/guide"


def blocks(page: str) -> list[str]:
    """Return the programs of a page."""
    return re.findall(r"^```python\n(.*?)^```$", (GUIDE / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


BLOCKS = blocks("python.md")
NAME = re.compile(r"# (\S+\.py)\n")
LIMIT = 30.0
"""Seconds after which the service is given up, far beyond its need."""


def as_shown(line: str, shown: str) -> bool:
    """Whether the page shows a printed line; an ellipsis at the end stands for any rest."""
    return line.startswith(shown.removesuffix("...")) if shown.endswith("...") else line == shown


def run(program: str, names: dict[str, Any]) -> None:
    """Run a program, and compare the printed lines with the comments behind `print`."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "guide", "exec", dont_inherit=True), names)
    lines = printed.getvalue().splitlines()
    shown = re.findall(r"^ *print\(.*\)  # (.*)$", program, re.MULTILINE)
    assert len(lines) == len(shown) == program.count("print("), program
    for line, expected in zip(lines, shown, strict=True):
        assert as_shown(line, expected), f"{line!r} is not {expected!r}"


@pytest.mark.parametrize("page", ["msgpack.md", "tensors.md"])
def test_a_page_of_programs(page: str) -> None:
    names = {"__name__": __name__}
    for program in blocks(page):
        run(program, names)


def test_the_page_of_python(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = [block for block in BLOCKS if not NAME.match(block)]
    for block in BLOCKS:
        if name := NAME.match(block):
            (tmp_path / name[1]).write_text(block, encoding="utf-8")
    command = [sys.executable, "-W", "error", "sensor_service.py", path]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as service:
        monkeypatch.syspath_prepend(str(tmp_path))
        # The examples have a module of the same name.
        monkeypatch.delitem(sys.modules, "sensor_api", raising=False)
        try:
            with RpcBus.connect(path) as bus:
                names = {"bus": bus, "__name__": __name__}
                for program in programs:
                    run(program, names)
            _, logged = service.communicate(timeout=LIMIT)
        finally:
            service.kill()
            # The module of the page goes; monkeypatch restores the earlier module.
            sys.modules.pop("sensor_api", None)
    assert (service.returncode, logged) == (0, "")
