"""Handlers that raise a panic of the core, as a call within a handler would; the end of the serving is printed."""

import sys

import tachyon
from services import serving

kept: list[memoryview] = []
dispatcher = tachyon.RpcDispatcher()


def panic() -> None:
    """Raise the extension's own class of panics, which no module exports."""
    try:
        tachyon.make_type_id("", 0)  # type: ignore[arg-type]
    except TypeError:
        pass
    classes = [each for each in BaseException.__subclasses__() if each.__name__ == "PanicException"]
    assert len(classes) == 1
    raise classes[0]("a panic on purpose")


@dispatcher.handler(msg_type=1)
def with_view(payload: memoryview) -> bytes:
    kept.append(payload)
    panic()
    return b""


@dispatcher.handler(msg_type=2)
def with_bytes(payload: bytes) -> bytes:
    panic()
    return b""


async def in_a_task(payload: bytes) -> bytes:
    panic()
    return b""


def main() -> None:
    if sys.argv[2] == "loop":
        dispatcher.handler(msg_type=3)(in_a_task)
    try:
        serving.serve(dispatcher)
    except BaseException as error:
        print(type(error).__name__, error, flush=True)
    else:
        print("went on", flush=True)
    for view in kept:
        try:
            view.tobytes()
        except ValueError as error:
            print(error, flush=True)


if __name__ == "__main__":
    main()
