"""The Python of `docs/guide/calling.md` runs, against the server that the page describes."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tachyon import Pool, RpcBus

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from conftest import Peer

PAGE = Path(__file__).parents[2] / "docs/guide/calling.md"


def test_the_page(peer: Callable[[str], Peer], path: str, capsys: pytest.CaptureFixture[str]) -> None:
    server = peer("""
        dispatcher = tachyon.RpcDispatcher()
        dispatcher.handler(1)(lambda payload: payload.tobytes().upper())
        with tachyon.RpcServer(path) as server:
            print("ready", flush=True)
            dispatcher.serve_forever(server)
    """)
    server.line()
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names = {"path": path, "asyncio": asyncio, "words": [b"one", b"two"]}
    exec(program, names)
    assert capsys.readouterr().out == "b'MANY'\nb'AT'\nb'ONCE'\n"
    assert names["total"] == sum(b"ABC")

    async def from_a_loop() -> list[bytes]:
        with RpcBus.connect(path) as bus:
            return await names["from_a_loop"](bus)

    assert asyncio.run(from_a_loop()) == [b"ONE", b"TWO"]
    with Pool(path, max_size=2) as pool:
        assert names["persistent"](pool, b"word") == b"WORD"
        assert asyncio.run(names["from_any_loop"](pool)) == [b"ONE", b"TWO"]
