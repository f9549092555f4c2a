"""Serve endpoints in Rust and in Python from one table; the Rust ones do not wait for Python.

    python extension_service.py SOCKET [WORKERS]

They come from the extension module in `examples/python-extension`.
"""

import sys

import pricing

from tachyon import RpcDispatcher, RpcServer, tachyon_rpc


@tachyon_rpc(msg_type=10)
def shout(text: bytes) -> bytes:
    """The same, louder; this one is in Python."""
    return text.upper()


def main(path: str, workers: int = 1) -> None:
    """Serve until somebody says stop."""
    with RpcServer(path) as server:
        dispatcher = RpcDispatcher()
        for endpoint in (pricing.keep, pricing.latest, pricing.mean, pricing.running_sum, shout):
            dispatcher.register(endpoint)

        @dispatcher.handler(msg_type=11)
        def stop() -> None:
            """Ends the service."""
            server.stop()

        print(f"{len(dispatcher)} endpoints at {path}", flush=True)
        dispatcher.serve_forever(server, workers=workers)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
