"""The README and the tutorial are true: their Python programs run, each side in a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs/guide/tutorial.md").read_text(encoding="utf-8")
UNSAFE = (ROOT / "docs/internals/unsafe.md").read_text(encoding="utf-8")
LIMIT = 30.0
"""Seconds after which a program is given up, far beyond the need of any program."""


def programs() -> dict[str, str]:
    """Return the Python programs of both pages by the name in their first line."""
    blocks = re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", README + TUTORIAL, re.MULTILINE | re.DOTALL)
    return dict(blocks)


def run(listener: str, connector: str, socket: str, path: str) -> list[tuple[str, str]]:
    """Run two programs at `path` instead of the page's `socket`; return the output and the log of each."""
    started = []
    try:
        for name in (listener, connector):
            script = programs()[name]
            assert socket in script, f"{name} does not meet its peer at {socket}"
            command = [sys.executable, "-W", "error", "-c", script.replace(socket, path)]
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        printed = [process.communicate(timeout=LIMIT) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    for process, (out, err) in zip(started, printed, strict=True):
        assert process.returncode == 0, f"{out}\n{err}"
    return printed


def test_every_python_program_is_run_here() -> None:
    assert sorted(programs()) == [
        "callee.py",
        "caller.py",
        "consumer.py",
        "order_api.py",
        "order_caller.py",
        "order_service.py",
        "price_caller.py",
        "price_service.py",
        "prices.py",
        "producer.py",
    ]
    assert (README + TUTORIAL).count("```python\n") == len(programs())


@pytest.mark.parametrize(
    ("service", "caller", "printed"),
    [
        ("order_service.py", "order_caller.py", "1\n9900\nan order of nothing\n"),
        ("price_service.py", "price_caller.py", "14.0\n"),
    ],
)
def test_a_server_and_its_callers(service: str, caller: str, printed: str, path: str, tmp_path: Path) -> None:
    for name in ("order_api.py", service, caller):
        script = re.sub(r"/tmp/\w+\.sock", path, programs()[name])
        (tmp_path / name).write_text(script, encoding="utf-8")
    command = [sys.executable, "-W", "error"]
    with subprocess.Popen([*command, service], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        try:
            for first in (printed, printed.replace("1\n", "2\n", 1)):
                with subprocess.Popen(
                    [*command, caller], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                ) as calling:
                    out, err = calling.communicate(timeout=LIMIT)
                assert (calling.returncode, err) == (0, "")
                assert out.startswith(first)
            server.send_signal(signal.SIGTERM)
            assert server.communicate(timeout=LIMIT)[1] == ""
        finally:
            server.kill()
    assert server.returncode == 0


def test_calls(path: str) -> None:
    callee, caller = run("callee.py", "caller.py", "/tmp/shout.sock", path)
    assert callee == ("", "no endpoint for msg_type 2; register one (its caller got an error reply)\n")
    assert caller == ("b'HELLO'\nb'IN TIME'\nNO_HANDLER\n", "")


def test_types(path: str) -> None:
    callee, caller = run("prices.py", "price_caller.py", "/tmp/prices.sock", path)
    assert callee == ("", "")
    first, mismatch = caller[0].splitlines()
    assert first == "14.0"
    assert "old_price: the request is i64 here, PriceRequest at the callee; ..." in TUTORIAL
    assert mismatch.startswith("old_price: the request is i64 here, PriceRequest at the callee; ")
    assert caller[1] == ""


def test_one_way_messages(path: str) -> None:
    consumer, producer = run("consumer.py", "producer.py", "/tmp/numbers.sock", path)
    assert consumer == ("1 b'copied'\n2 b'in place'\n", "")
    assert producer == ("", "")


def test_the_list_of_files_that_may_be_unsafe_is_complete() -> None:
    for crate in ("tachyon/src", "tachyon-py/src", "tachyon-macros/src", "tests", "examples"):
        found = {
            str(file.relative_to(ROOT / crate))
            for file in (ROOT / crate).rglob("*.rs")
            if re.search(r"allow\(unsafe_code", file.read_text(encoding="utf-8"))
        }
        mark = f"- `{crate}`: "
        listed = UNSAFE.split(mark, 1)[1].split("- `", 1)[0] if mark in UNSAFE else ""
        assert set(re.findall(r"`([\w/.]+\.rs)`", listed)) == found, crate
