"""The Python of the guide runs.

Each service of `docs/guide/python.md` runs in a process of its own, the other programs of the page against them.
"""

from __future__ import annotations

import contextlib
import io
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tachyon import RpcBus

if TYPE_CHECKING:
    from collections.abc import Iterator

GUIDE = Path(__file__).parents[2] / "docs/guide"


def blocks(page: str) -> list[str]:
    """Return the programs of a page."""
    return re.findall(r"^```python\n(.*?)^```$", (GUIDE / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


BLOCKS = blocks("python.md")
NAME = re.compile(r"# (\S+\.py)\n")
LIMIT = 30.0
"""Seconds after which the service is given up, far beyond its need."""


MODULES = ("sensor_api", "mount_api", "count_api")
SERVERS = ("mount", "count", "guarded")
ENDS = {"sensor": (0, False)} | dict.fromkeys(SERVERS, (-signal.SIGINT, True))
"""The status of each service, and whether Ctrl-C ended it."""


@contextlib.contextmanager
def started(folder: Path, program: str, path: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "error", program, path]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as service:
        try:
            yield service
        finally:
            service.kill()


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


@pytest.mark.parametrize("page", ["msgpack.md", "streams.md", "streams-python.md", "tensors.md"])
def test_a_page_of_programs(page: str) -> None:
    names = {"__name__": __name__}
    for program in blocks(page):
        run(program, names)


def test_the_page_of_python(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = [block for block in BLOCKS if not NAME.match(block)]
    for block in BLOCKS:
        if name := NAME.match(block):
            (tmp_path / name[1]).write_text(block, encoding="utf-8")
    with ExitStack() as stack:
        services = {
            name: stack.enter_context(started(tmp_path, f"{name}_service.py", at))
            for name, at in (("sensor", path), *((name, f"{path}.{name}") for name in SERVERS))
        }
        monkeypatch.syspath_prepend(str(tmp_path))
        # The examples have modules of the same names.
        for module in MODULES:
            monkeypatch.delitem(sys.modules, module, raising=False)
        try:
            with RpcBus.connect(path) as bus:
                paths = {f"{name}_path": f"{path}.{name}" for name in SERVERS}
                names = {"bus": bus, **paths, "__name__": __name__}
                for program in programs:
                    run(program, names)
            # A server goes on for other callers, and a signal ends it.
            for name in SERVERS:
                services[name].send_signal(signal.SIGINT)
            for name, service in services.items():
                _, logged = service.communicate(timeout=LIMIT)
                assert (service.returncode, logged.endswith("KeyboardInterrupt\n")) == ENDS[name], logged
        finally:
            # The modules of the page go; monkeypatch restores the earlier modules.
            for module in MODULES:
                sys.modules.pop(module, None)
