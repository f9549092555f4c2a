"""The README is true: its Python programs run, each side in a process of its own, and its list of files holds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LIMIT = 30.0
"""Seconds after which a program is given up, far beyond what any of them needs."""


def programs() -> dict[str, str]:
    """Return the README's Python programs by the name in their first line."""
    blocks = re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return dict(blocks)


def run(listener: str, connector: str, socket: str, path: str) -> list[tuple[str, str]]:
    """Run two programs at `path` instead of the README's `socket`; return what each printed and logged."""
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
        "price_caller.py",
        "prices.py",
        "producer.py",
    ]
    assert README.count("```python\n") == len(programs())


def test_calls(path: str) -> None:
    callee, caller = run("callee.py", "caller.py", "/tmp/shout.sock", path)
    assert callee == ("", "no endpoint for msg_type 2; register one (its caller got an error reply)\n")
    assert caller == ("b'HELLO'\nb'IN TIME'\nNO_HANDLER\n", "")


def test_types(path: str) -> None:
    callee, caller = run("prices.py", "price_caller.py", "/tmp/prices.sock", path)
    assert callee == ("", "")
    first, mismatch = caller[0].splitlines()
    assert first == "14.0"
    assert "old_price: the request is i64 here, PriceRequest at the callee; ..." in README
    assert mismatch.startswith("old_price: the request is i64 here, PriceRequest at the callee; ")
    assert caller[1] == ""


def test_one_way_messages(path: str) -> None:
    consumer, producer = run("consumer.py", "producer.py", "/tmp/numbers.sock", path)
    assert consumer == ("1 b'copied'\n2 b'in place'\n", "")
    assert producer == ("", "")


def test_the_list_of_files_that_may_be_unsafe_is_complete() -> None:
    section = README[README.index("Code may use `unsafe`") : README.index("## Requirements")]
    for crate in ("tachyon/src", "tachyon-py/src", "tachyon-macros/src", "tests", "examples"):
        found = {
            str(file.relative_to(ROOT / crate))
            for file in (ROOT / crate).rglob("*.rs")
            if re.search(r"allow\(unsafe_code", file.read_text(encoding="utf-8"))
        }
        mark = f"- `{crate}`: "
        listed = section.split(mark, 1)[1].split("- `", 1)[0] if mark in section else ""
        assert set(re.findall(r"`([\w/.]+\.rs)`", listed)) == found, crate
