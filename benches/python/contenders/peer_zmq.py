"""One side of one contender: pyzmq over ipc://.

peer_zmq.py SIDE PATH CAPACITY HOW
"""

import sys
from collections.abc import Callable

import zmq
from rounds import drive_asks, drive_sink, drive_source, ready_for_good


def asker(path: str) -> None:
    """Ask by a REQ socket."""
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.connect(f"ipc://{path}")

        def prepare(asked: bytes) -> Callable[[], bytes]:
            send, receive = socket.send, socket.recv

            def call() -> bytes:
                send(asked)
                reply: bytes = receive()
                return reply

            return call

        drive_asks(prepare)


def answerer(path: str) -> None:
    """Answer for ever by a REP socket."""
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.bind(f"ipc://{path}")
        ready_for_good()
        while True:
            socket.send(socket.recv())


def source(path: str) -> None:
    """Send by a PUSH socket."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.connect(f"ipc://{path}")

        def send(payload: bytes, count: int) -> None:
            push = socket.send
            for _ in range(count):
                push(payload)

        drive_source(send)


def sink(path: str) -> None:
    """Receive by a PULL socket."""
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.bind(f"ipc://{path}")

        def receive(count: int) -> None:
            pull = socket.recv
            for _ in range(count):
                pull()

        drive_sink(receive)


SIDES = {"asker": asker, "answerer": answerer, "source": source, "sink": sink}

if __name__ == "__main__":
    SIDES[sys.argv[1]](sys.argv[2])
