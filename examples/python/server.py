"""One server and many callers, each in a separate process.

    python examples/python/server.py serve /tmp/tachyon-server.sock

Then, in any number of terminals, also while other callers connect, close or are killed:

    python examples/python/server.py call /tmp/tachyon-server.sock 10000

At the end, Ctrl-C or a SIGTERM in the first terminal, or a caller:

    python examples/python/server.py stop /tmp/tachyon-server.sock

Each process can also be the Rust program `examples/rust/server.rs`.
"""

import os
import signal
import sys

from tachyon import RpcBus, RpcDispatcher, RpcServer, current_call, tachyon_rpc

LIMIT = 10.0
"""The timeout of a call in seconds."""


@tachyon_rpc(msg_type=1)
def reverse(payload: memoryview) -> bytes:
    """Return the bytes in reverse order."""
    return payload[::-1].tobytes()


@tachyon_rpc(msg_type=2)
def introduce(payload: memoryview) -> bytes:
    """Return the server's data about the caller."""
    call = current_call()
    return f"caller {call.caller_id}, process {call.caller_pid}".encode()


@tachyon_rpc(msg_type=3)
def stop() -> None:
    """Stop the server: the stub for callers, without arguments and reply."""
    raise NotImplementedError


def serve(socket: str, workers: int) -> None:
    """Serve callers until one of them calls `stop`, or a signal comes."""
    with RpcServer(socket, max_callers=256) as server:
        dispatcher = RpcDispatcher().register(reverse).register(introduce)

        @dispatcher.handler(msg_type=3)
        def stop() -> None:
            server.stop()

        print(f"serving at {socket}", flush=True)
        dispatcher.serve_forever(server, workers=workers, stop_on=(signal.SIGTERM, signal.SIGINT))
    print("stopped")


def call(socket: str, count: int) -> None:
    """Make calls of many sizes and check every reply."""
    with RpcBus.connect(socket) as caller:
        print(introduce.call(caller, b"", timeout=LIMIT).decode(), flush=True)
        for number in range(count):
            text = f"call {number} of process {os.getpid()}, ".encode() * (number % 50)
            if reverse.call(caller, text, timeout=LIMIT) != text[::-1]:
                sys.exit(f"the reply to call {number} is wrong")
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
