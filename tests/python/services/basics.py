"""The endpoints that most tests call: echo, sleep, and questions and orders to the server and its process."""

import json
import os
import sys
import threading
import time
from pathlib import Path

from services import serving
from tachyon import RpcDispatcher, current_call, i64

local = threading.local()
dispatcher = RpcDispatcher()


@dispatcher.handler(msg_type=1)
def echo(payload: memoryview) -> bytes:
    return payload.tobytes()


@dispatcher.handler(msg_type=2)
def introduce(payload: memoryview) -> bytes:
    call = current_call()
    local.calls = getattr(local, "calls", 0) + 1
    facts = {
        "name": call.name,
        "msg_type": call.msg_type,
        "id": call.caller_id,
        "pid": call.caller_pid,
        "uid": call.caller_uid,
        "remaining": call.remaining,
        "deadline": call.deadline,
        "now": time.monotonic(),
        "cid": call.correlation_id,
        "thread": threading.get_ident(),
        "calls": local.calls,
    }
    return json.dumps(facts).encode()


@dispatcher.handler(msg_type=3)
def sleep(payload: memoryview) -> bytes:
    # One write: several threads print this line at the same time.
    sys.stdout.write("sleeps\n")
    time.sleep(float(bytes(payload)))
    return b"slept"


@dispatcher.handler(msg_type=4)
def stop(payload: memoryview) -> bytes:
    serving.server.stop()
    return b"stopping"


@dispatcher.handler(msg_type=5)
def callers(payload: memoryview) -> bytes:
    return str(serving.server.callers).encode()


@dispatcher.handler(msg_type=6)
def close(payload: memoryview) -> bytes:
    serving.server.close()
    return b"closing"


@dispatcher.handler(msg_type=7)
def exits(payload: memoryview) -> bytes:
    raise SystemExit(3)


@dispatcher.handler(msg_type=8)
def fails(payload: memoryview) -> bytes:
    raise ValueError("on purpose")


@dispatcher.handler(msg_type=9)
def remaining(payload: memoryview) -> bytes:
    return str(current_call().remaining).encode()


@dispatcher.handler(msg_type=10)
def process_id(payload: memoryview) -> bytes:
    return str(os.getpid()).encode()


@dispatcher.handler(msg_type=11)
def die_once(payload: memoryview) -> bytes:
    died = Path(serving.path() + ".died")
    if not died.exists():
        died.touch()
        os._exit(1)
    return b"survived"


@dispatcher.handler(msg_type=12)
def sleep_and_stop(payload: memoryview) -> bytes:
    time.sleep(0.3)
    serving.server.stop()
    return b""


@dispatcher.handler(msg_type=13)
def add(a: i64, b: i64) -> i64:
    return a + b


if __name__ == "__main__":
    try:
        serving.serve(dispatcher)
        print("served")
    except KeyboardInterrupt:
        print(time.monotonic())
