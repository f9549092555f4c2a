"""Rust calls the contract of every form; statistics and layers see callers of both languages alike."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from contract import LIMIT, WORDS, command, rust, served, small
from generated import load
from programs import tachyon
from tachyon import ErrorKind, RpcBus, RpcError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("role", "scene", "size"),
    [
        ("one", "call_one", 1 << 20),
        ("one", "call_one", 1 << 16),
        ("many", "call_many", 1 << 16),
        ("many", "call_tensors", 1 << 16),
        ("many", "call_small", 1 << 12),
        ("hidden", "call_hidden", 1 << 16),
        ("sensor", "call_sensor", 1 << 16),
        ("many", "call_generated", 1 << 16),
        ("one", "call_one_async", 1 << 20),
        ("one", "call_one_async", 1 << 16),
        ("many", "call_many_async", 1 << 16),
        ("many", "call_small_async", 1 << 12),
        ("sensor", "call_sensor_async", 1 << 16),
    ],
)
def test_rust_calls(language: str, path: str, role: str, scene: str, size: int) -> None:
    with served(language, role, path, size):
        rust(scene, path, *(WORDS[language] if scene.startswith("call_many") else ()))


def end_in_every_way(module: Any, path: str) -> None:
    """Make the calls of `end_in_every_way` of the Rust caller."""
    with RpcBus.connect(path) as bus:
        module.nothing.call(bus)
        module.takes_one.call(bus, small(module))
        for endpoint, *given in (
            (module.fails, 0, ""),
            (module.fails_in_words, "word", 2),
            (module.fails, 9, "thrown"),
        ):
            with pytest.raises(RpcError):
                endpoint.call(bus, *given)
        with bus.wait(bus.call(b"", 404), timeout=LIMIT) as reply:
            assert reply.error_kind is ErrorKind.NO_HANDLER


def test_statistics_and_layers_see_both_callers_alike(
    language: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TACHYON_RUNTIME_DIR", str(tmp_path))
    with subprocess.Popen([*command(language), "seen_server", path], stdout=subprocess.PIPE, text=True) as process:
        try:
            (tmp_path / "seen_api.py").write_text(tachyon("codegen", "python", path))
            module = load(tmp_path / "seen_api.py")
            counted = []
            for call in (lambda: end_in_every_way(module, path), lambda: rust("call_endings", path)):
                call()
                look = json.loads(tachyon("top", path, "--once", "--json", "--interval", "0.1"))
                lines = [(line["msg_type"], line["name"], line["calls"], line["errors"]) for line in look["endpoints"]]
                counted.append([line for line in lines if line[2]])
        finally:
            process.kill()
            out, _ = process.communicate(timeout=LIMIT)
    once, twice = counted
    assert {line[:2]: line[2:] for line in once if line[0]} == {
        (100, "nothing"): (1, 0),
        (108, "takes_one"): (1, 0),
        (110, "fails"): (2, 2),
        (111, "fails_in_words"): (1, 1),
    }
    assert [line[2:] for line in once if not line[0]] == [(1, 1)]
    assert twice == [(*line[:2], 2 * line[2], 2 * line[3]) for line in once]
    if language == "rust":
        seen = out.splitlines()
        half = len(seen) // 2
        assert seen[:half] == seen[half:]
        assert seen[:2] == ["100 nothing 0 Replied(0)", f"108 takes_one {len(bytes(small(module)))} Replied(8)"]
        assert seen[2:half] == [
            "110 fails 16 Failed(HandlerFailed)",
            "111 fails_in_words 24 Failed(HandlerFailed)",
            "110 fails 24 Failed(HandlerFailed)",
            "404  0 Failed(NoHandler)",
        ]
