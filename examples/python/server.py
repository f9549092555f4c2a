"""One server, many callers, each in a process of its own.

    python examples/python/server.py serve /tmp/tachyon-server.sock

Then, in as many terminals as you like, and while others come, go and are killed:

    python examples/python/server.py call /tmp/tachyon-server.sock 10000

and in the end:

    python examples/python/server.py stop /tmp/tachyon-server.sock

Any of them may as well be the Rust program `examples/rust/server.rs`.
"""

import os
import sys

from tachyon import RpcBus, RpcDispatcher, RpcServer, current_call, tachyon_rpc

LIMIT = 10.0
"""Seconds to wait for a reply."""


@tachyon_rpc(msg_type=1)
def reverse(payload: memoryview) -> bytes:
    """Give the bytes back, last one first."""
    return payload[::-1].tobytes()


@tachyon_rpc(msg_type=2)
def introduce(payload: memoryview) -> bytes:
    """Tell a caller what the server knows of it."""
    call = current_call()
    return f"caller {call.caller_id}, process {call.caller_pid}".encode()


@tachyon_rpc(msg_type=3)
def stop() -> None:
    """Have the server stop; a caller's idea of it, for it takes and gives nothing."""
    raise NotImplementedError


def serve(socket: str, workers: int) -> None:
    """Serve callers until one of them says stop."""
    with RpcServer(socket, max_callers=256) as server:
        dispatcher = RpcDispatcher().register(reverse).register(introduce)

        @dispatcher.handler(msg_type=3)
        def stop() -> None:
            server.stop()

        print(f"serving at {socket}", flush=True)
        dispatcher.serve_forever(server, workers=workers)
    print("stopped")


def call(socket: str, count: int) -> None:
    """Make calls of many sizes and check every reply."""
    with RpcBus.connect(socket) as caller:
        print(introduce.call(caller, b"", timeout=LIMIT).decode(), flush=True)
        for number in range(count):
            text = f"call {number} of process {os.getpid()}, ".encode() * (number % 50)
            if reverse.call(caller, text, timeout=LIMIT) != text[::-1]:
                sys.exit(f"call {number} came back wrong")
    print(f"{count} calls, all correct")


match sys.argv[1:]:
    case ["serve", socket]:
        serve(socket, workers=1)
    case ["serve", socket, workers]:
        serve(socket, int(workers))
    case ["call", socket, count]:
        call(socket, int(count))
    case ["stop", socket]:
        with RpcBus.connect(socket) as caller:
            stop.call(caller, timeout=LIMIT)
    case _:
        sys.exit("usage: server.py serve SOCKET [WORKERS] | call SOCKET COUNT | stop SOCKET")
