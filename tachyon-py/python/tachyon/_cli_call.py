"""`tachyon call`: one call of an endpoint, or one stream of it, with values as JSON."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from tachyon._forms import RAW
from tachyon._printable import printable
from tachyon._tachyon import RpcBus, read_error
from tachyon._values import JsonError, decode, encode, encode_item, form_of
from tachyon.errors import OnePeerError, RpcError

if TYPE_CHECKING:
    import argparse

    from tachyon._description import EndpointType
    from tachyon._forms import Form
    from tachyon._streams import AsyncStream

    _RawStream = AsyncStream[bytes, Any, bytes]

_READ_SIZE = 1 << 16

_INTERRUPTED = 130
"""The exit status of a command that Ctrl-C ends, as shells have it."""


def call(arguments: argparse.Namespace) -> int:
    """Call an endpoint, or open a stream of it, and print each value as one line of JSON."""
    with _caller(arguments.path, arguments.timeout) as bus:
        description = bus.describe(timeout=arguments.timeout)
        name: str = arguments.name
        try:
            endpoint = description[int(name) if name.isdecimal() else name]
        except KeyError:
            known = ", ".join(each.name for each in description) or "none"
            message = f"the callee has no endpoint `{name}`; its endpoints: {known}"
            raise JsonError(message) from None
        given: Any = None if arguments.json is None else json.loads(arguments.json)
        sent = encode(form_of(endpoint.request, endpoint.name), given, "the request")
        try:
            if endpoint.kind == "unary":
                print(_shown(_reply_form(endpoint), _unary(bus, endpoint, sent, arguments.timeout), "the reply"))
            else:
                asyncio.run(_stream(bus, endpoint, sent, arguments.timeout))
        except RpcError as error:
            said = ": ".join(part for part in (error.name, error.text) if part)
            failure = f"{endpoint.name}: {error.kind.name} {said}".rstrip()
            print(f"tachyon: {printable(failure)}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return _INTERRUPTED
    return 0


def _caller(path: str, timeout: float) -> RpcBus:
    """Connect, with a warning if this takes the place of the only caller."""
    try:
        return RpcBus.connect(path, timeout=timeout, probe=True)
    except OnePeerError:
        print(f"tachyon: the callee at {printable(path)} takes one caller, and ends after this call", file=sys.stderr)
    return RpcBus.connect(path, timeout=timeout)


def _unary(bus: RpcBus, endpoint: EndpointType, sent: bytes, timeout: float) -> bytes:
    started = bus.start(sent, endpoint.msg_type, timeout=timeout)
    with bus.finish(started, timeout=timeout) as guard:
        data = bytes(memoryview(guard))
        if guard.error_kind is not None:
            raise read_error(guard.error_kind, data)
    return data


async def _stream(bus: RpcBus, endpoint: EndpointType, sent: bytes, patience: float) -> None:
    """Open a stream: its items are lines, of standard input and of standard output."""
    # A user who types the items may take any time, and a callee that waits for them, too.
    item_timeout = patience if endpoint.items is None else None
    form = _reply_form(endpoint)
    async with bus.astream(endpoint.msg_type, sent, item_timeout=item_timeout) as stream:
        if endpoint.items is None:
            await _print_items(stream, form)
            return
        sending = asyncio.create_task(_send_lines(stream, form_of(endpoint.items, endpoint.name)))
        receiving = asyncio.create_task(_print_items(stream, form))
        try:
            done, _ = await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
            # A callee may end the stream before the last line.
            if receiving not in done:
                await sending
            await receiving
            if not endpoint.streams:
                print(_shown(form, await stream.finish(), "the reply"))
        finally:
            sending.cancel()
            receiving.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)


async def _print_items(stream: _RawStream, form: Form) -> None:
    async for item in stream:
        print(_shown(form, item, "an item"), flush=True)


async def _send_lines(stream: _RawStream, form: Form) -> None:
    lines: asyncio.Queue[bytes | None] = asyncio.Queue(1)
    threading.Thread(target=_read_lines, args=(lines, asyncio.get_running_loop()), daemon=True).start()
    number = 0
    while (line := await lines.get()) is not None:
        number += 1
        if not line.strip():
            continue
        try:
            item = encode_item(form, json.loads(line), "the item")
        except (ValueError, TypeError, OverflowError) as error:
            message = f"line {number}: {error}"
            raise JsonError(message) from None
        if not await stream.send(item):
            return
    await stream.end()


def _read_lines(lines: asyncio.Queue[bytes | None], loop: asyncio.AbstractEventLoop) -> None:
    """Put the lines of standard input into a queue, and None after the last one. The loop may end meanwhile."""

    def put(line: bytes | None) -> None:
        putting = lines.put(line)
        try:
            asyncio.run_coroutine_threadsafe(putting, loop).result()
        except RuntimeError:
            # A coroutine that never runs would be reported.
            putting.close()
            raise

    rest = b""
    try:
        # Not through `sys.stdin`: a thread in a read would hold its lock when the interpreter ends.
        while data := os.read(0, _READ_SIZE):
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                put(line)
        if rest:
            put(rest)
        put(None)
    except (RuntimeError, concurrent.futures.CancelledError):
        # The loop has ended.
        return


def _reply_form(endpoint: EndpointType) -> Form:
    return form_of(endpoint.reply, endpoint.name)


def _shown(form: Form, data: bytes, place: str) -> str:
    """Give a value of the callee as one line of JSON."""
    if form is not RAW:
        return json.dumps(decode(form, data, place))
    try:
        return json.dumps(data.decode())
    except UnicodeDecodeError:
        return json.dumps({"hex": data.hex()})
