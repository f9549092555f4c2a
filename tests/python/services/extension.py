"""Endpoints of the extension in Rust beside endpoints in Python, and a thread that can hold the interpreter's lock."""

import ctypes
import os
import threading

import pricing  # type: ignore[import-not-found,unused-ignore]

import tachyon
from services import serving

dispatcher = tachyon.RpcDispatcher()
for endpoint in (pricing.keep, pricing.latest, pricing.mean, pricing.running_sum, pricing.whoami):
    dispatcher.register(endpoint)


@dispatcher.handler(10)
def shout(payload: bytes) -> bytes:
    return payload.upper()


@dispatcher.handler(11)
def where() -> bytes:
    return threading.current_thread().name.encode()


@dispatcher.handler(12)
def leave() -> None:
    raise SystemExit(3)


class Token(tachyon.layers.Layer):
    def before(self, call: tachyon.CurrentCall, /) -> None:
        if call.metadata.get("token") != call.name:
            raise tachyon.errors.PermissionDeniedError(call.name)


def hold_the_interpreter() -> None:
    """Wait for five bytes on standard input, and then hold the lock until three more come."""
    os.read(0, 5)
    print("held", flush=True)
    # Unlike `os.read`, a function of `PyDLL` keeps the interpreter's lock.
    ctypes.PyDLL(None).read(0, ctypes.create_string_buffer(3), 3)
    print("released", flush=True)


if __name__ == "__main__":
    threading.Thread(target=hold_the_interpreter, daemon=True).start()
    try:
        settings = serving.options()
        if settings.pop("layered", False):
            dispatcher.layer(Token())
        serving.serve(dispatcher, settings)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
