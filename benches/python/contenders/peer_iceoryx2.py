"""One side of one contender: iceoryx2's request-response, polled in a busy loop.

    peer_iceoryx2.py SIDE PATH CAPACITY HOW

Payloads are 32 bytes in a ctypes structure, the fastest form of iceoryx2: slices cost several times more.
"""

import ctypes
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import iceoryx2 as iox2
from rounds import PATIENCE, drive_answers, drive_asks

SIZE = 32


class Payload(ctypes.Structure):
    """The payload."""

    _fields_ = (("data", ctypes.c_uint8 * SIZE),)


def service(path: str) -> tuple[Any, Any]:
    """Open the service with the name of the path, and its files in the folder of the path, so that runs never meet."""
    iox2.set_log_level(iox2.LogLevel.Fatal)
    config = iox2.config.default()
    name = Path(path).stem
    config.global_cfg.prefix = iox2.FileName.new(f"{name}_{os.environ.get('TACHYON_BENCH', '')}_")
    config.global_cfg.root_path = iox2.Path.new(str(Path(path).parent))
    node = iox2.NodeBuilder.new().config(config).create(iox2.ServiceType.Ipc)
    builder = node.service_builder(iox2.ServiceName.new(name))
    return node, builder.request_response(Payload, Payload).open_or_create()


def client(path: str) -> None:
    """Send requests and poll for the responses."""
    _node, requests = service(path)
    asking = requests.client_builder().create()
    begin = time.monotonic()
    while requests.dynamic_config.number_of_servers == 0:
        if time.monotonic() - begin > PATIENCE:
            sys.exit("the server did not appear in time")
        time.sleep(0.001)

    def prepare(asked: bytes) -> Callable[[], bytes]:
        request = Payload.from_buffer_copy(asked)
        send = asking.send_copy

        def call() -> bytes:
            pending = send(request)
            receive = pending.receive
            while (response := receive()) is None:
                pass
            return bytes(response.payload().contents)

        return call

    drive_asks(prepare)
    asking.delete()


def server(path: str) -> None:
    """Poll for requests and answer."""
    _node, requests = service(path)
    serving = requests.server_builder().create()
    receive = serving.receive

    def answer() -> None:
        while (request := receive()) is None:
            pass
        request.send_copy(request.payload().contents)

    drive_answers(answer)
    serving.delete()


SIDES = {"client": client, "server": server}

if __name__ == "__main__":
    SIDES[sys.argv[1]](sys.argv[2])
