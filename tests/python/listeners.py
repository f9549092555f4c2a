"""The ways to listen at a path, as expressions for this process and for children."""

from __future__ import annotations

import pytest

from tachyon import Bus, RpcBus, RpcServer

LISTENERS = {
    "Bus": "Bus.listen(path, 4096, timeout=1)",
    "RpcBus": "RpcBus.listen(path, 4096, 4096, timeout=1)",
    "RpcServer": "RpcServer(path)",
}
every_listener = pytest.mark.parametrize("listener", LISTENERS)


def listen(name: str, path: str) -> object:
    return eval(LISTENERS[name], {"path": path, "Bus": Bus, "RpcBus": RpcBus, "RpcServer": RpcServer})
