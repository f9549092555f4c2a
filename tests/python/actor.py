"""The Python actor of `chaos`: reads orders from standard input, one a line, and answers each with one line.

Its Rust twin is the program `actor` of the crate `tachyon-tests`; both take the same orders, make the same messages and
keep the same notes. See `tests/src/chaos`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator  # noqa: TC003  # hints of handlers
from pathlib import Path
from typing import TypeAlias

import tachyon
from actor_scene import (
    COMMITTED,
    ENDLESS,
    ENDS,
    ITEMS_COMMITTED,
    ITEMS_STARTED,
    ITEMS_TAKEN,
    LOW,
    SHORTEST_TAGGED,
    STARTED,
    TAKEN,
    Receipt,
    Scene,
    Stream,
    WrongError,
    end_of,
    now,
)
from tachyon import RpcBus, RpcDispatcher, RpcServer, tachyon_rpc

Items: TypeAlias = tachyon.Stream[bytes, bytes, bytes]
AsyncItems: TypeAlias = tachyon.AsyncStream[bytes, bytes, bytes]
Begun: TypeAlias = int | Items
"""The id of a call, or an open stream."""

DEPTH = 16
ECHO, OTHER, STREAM, TWO_WAY, CLIENT, COUNT, OPEN, STOP = 1, 2, 3, 4, 5, 7, 8, 9

OPENS = {
    "streams": STREAM,
    "async-streams": STREAM,
    "two-way": TWO_WAY,
    "async-two-way": TWO_WAY,
    "client": CLIENT,
    "async-client": CLIENT,
}
"""The endpoint of each form that opens streams."""

PATIENCE = 5.0
"""Seconds that a thread may run after its stream has ended."""


def items_of(number: int) -> int:
    """Return the number of items in the stream of a request."""
    return 1 + number % 40


def item_of(number: int, at: int) -> int:
    """Return the message of the caller that is an item of the client stream of a request."""
    return number * 64 + at


echo, other = tachyon_rpc(ECHO)(bytes), tachyon_rpc(OTHER)(bytes)


def send(scene: Scene) -> str:
    sent, end = 0, "finished"
    with scene.open_bus() as bus:
        try:
            while sent < scene.count:
                scene.crosses("before", sent)
                scene.note(STARTED, sent + 1)
                message = scene.stream.message(sent)
                scene.asked = now()
                if scene.form == "place":
                    with bus.send_zero_copy(len(message), 0) as slot:
                        with memoryview(slot) as view:
                            view[:] = message
                        slot.type_id = sent % 1000
                        scene.crosses("reserved", sent)
                else:
                    bus.send(message, sent % 1000)
                scene.bytes += len(message)
                sent += 1
                scene.crosses("committed", sent - 1)
                scene.note(COMMITTED, sent)
                scene.rest()
        except tachyon.TachyonError as error:
            end = end_of(error)
        return scene.ended(end, sent=sent)


def receive(scene: Scene) -> str:
    taken, end = 0, "finished"

    def check(message: bytes | memoryview, type_id: int) -> None:
        scene.bytes += len(message)
        if type_id != taken % 1000:
            raise WrongError(f"message {taken} came with type {type_id}")
        scene.stream.check(taken, message)
        scene.crosses("taken", taken)

    with scene.open_bus() as bus:
        try:
            while taken < scene.count:
                scene.asked = now()
                if scene.form == "iterate":
                    message = next(bus, None)
                    if message is None:
                        end = "closed"
                        break
                    check(message.data, message.type_id)
                    taken += 1
                elif scene.form == "batch":
                    with bus.drain_batch(16, scene.spins) as batch:
                        for each in batch:
                            with memoryview(each) as view:
                                check(view, each.type_id)
                            taken += 1
                else:
                    with bus.recv_zero_copy(spin_threshold=scene.spins) as guard, memoryview(guard) as view:
                        check(view, guard.type_id)
                    taken += 1
                scene.note(TAKEN, taken)
                scene.crosses("released", taken - 1)
                scene.rest()
        except tachyon.TachyonError as error:
            end = end_of(error)
        return scene.ended(end, taken=taken)


class Tally:
    """The outcomes of the calls so far."""

    def __init__(self) -> None:
        self.sent = self.replies = self.lost = self.items = self.uploaded = 0
        self.end = ""

    def lose(self, error: tachyon.TachyonError) -> None:
        end = end_of(error)
        self.end = self.end or end
        if self.end != end:
            raise WrongError(f"one call ended with {self.end}, another one with {end}")

    def answer(self, scene: Scene) -> str:
        end = self.end or "finished"
        counts = {"sent": self.sent, "replies": self.replies, "lost": self.lost, "items": self.items}
        return scene.ended(end, **counts, uploaded=self.uploaded)

    def take_item(self, scene: Scene, number: int, item: bytes) -> None:
        """Check an item of a stream."""
        check_reply(scene, number, item)
        scene.crosses("item", self.items)
        self.items += 1

    def take_items(self, scene: Scene, stream: Items, number: int) -> None:
        """Take all items of a stream."""
        taken = 0
        item_sent = scene.stream.message(number)
        with stream:
            while True:
                if scene.form == "two-way":
                    send_or_end(stream, item_sent, is_last=taken == items_of(number))
                item = next(stream, None)
                if item is None:
                    break
                self.take_item(scene, number, item)
                taken += 1
        check_end(number, taken)
        scene.crosses("replied", number)

    async def take_items_later(self, scene: Scene, stream: AsyncItems, number: int) -> None:
        """Take all items of a stream, in a coroutine."""
        taken = 0
        item_sent = scene.stream.message(number)
        async with stream:
            while True:
                if scene.form == "async-two-way":
                    with contextlib.suppress(tachyon.errors.PeerDeadError, tachyon.errors.PeerClosedError):
                        await (stream.end() if taken == items_of(number) else stream.send(item_sent))
                item = await anext(stream, None)
                if item is None:
                    break
                self.take_item(scene, number, item)
                taken += 1
        check_end(number, taken)

    def count_sent(self, scene: Scene, item: bytes) -> None:
        """Count an item of a client stream."""
        scene.bytes += len(item)
        scene.crosses("item", self.uploaded)
        self.uploaded += 1

    def upload(self, scene: Scene, stream: Items, number: int) -> None:
        """Send all items of a client stream, and check the reply."""
        receipt = Receipt()
        with stream:
            for at in range(items_of(number)):
                item = scene.stream.message(item_of(number, at))
                receipt.add(item)
                scene.note(ITEMS_STARTED, self.uploaded + 1)
                # The outcome says why the callee takes nothing more.
                with contextlib.suppress(tachyon.errors.PeerDeadError, tachyon.errors.PeerClosedError):
                    if stream.send(item):
                        self.count_sent(scene, item)
            receipt.check(number, stream.finish())
        scene.crosses("replied", number)

    async def upload_later(self, scene: Scene, stream: AsyncItems, number: int) -> None:
        """Send all items of a client stream, and check the reply, in a coroutine."""
        receipt = Receipt()
        async with stream:
            for at in range(items_of(number)):
                item = scene.stream.message(item_of(number, at))
                receipt.add(item)
                with contextlib.suppress(tachyon.errors.PeerDeadError, tachyon.errors.PeerClosedError):
                    if await stream.send(item):
                        self.count_sent(scene, item)
            receipt.check(number, await stream.finish())


def send_or_end(stream: Items, item: bytes, *, is_last: bool) -> None:
    """Send the next item of a two-way stream, or the end after the last one."""
    if is_last:
        stream.end()
    else:
        # Items that the callee published before its end are still to be taken; the next one raises the error.
        with contextlib.suppress(tachyon.errors.PeerDeadError, tachyon.errors.PeerClosedError):
            stream.send(item)


def take_reply(scene: Scene, bus: RpcBus, cid: int, number: int) -> None:
    """Wait for the reply to a call, and check the reply in place."""
    with bus.wait(cid, scene.spins) as reply, memoryview(reply) as view:
        if reply.error_kind is not None:
            raise WrongError(f"call {number} was refused: {bytes(view)!r}")
        check_reply(scene, number, view)
        scene.crosses("replied", number)


def check_end(number: int, taken: int) -> None:
    """Check the number of items of a stream that has ended."""
    if taken != items_of(number):
        raise WrongError(f"stream {number} ended after {taken} of {items_of(number)} items")


def check_reply(scene: Scene, number: int, reply: bytes | memoryview) -> None:
    short = scene.stream.len_of(number) < SHORTEST_TAGGED
    (scene.stream if short else scene.replies).check(number, reply)
    scene.bytes += len(reply)


def call(scene: Scene) -> str:  # noqa: C901  # one loop, with what may happen in it
    if scene.form.startswith("async"):
        return asyncio.run(call_async(scene))
    tally = Tally()
    under_way: list[tuple[Begun, int]] = []

    def take(bus: RpcBus, begun: Begun, number: int) -> None:
        if not tally.end:
            scene.asked = now()
        try:
            if isinstance(begun, int):
                take_reply(scene, bus, begun, number)
            else:
                (tally.upload if scene.form == "client" else tally.take_items)(scene, begun, number)
            tally.replies += 1
            scene.note(TAKEN, tally.replies)
        except tachyon.TachyonError as error:
            tally.lost += 1
            if not (scene.reconnect and type(error) in ENDS):
                tally.lose(error)

    with scene.open_rpc() as bus:
        while tally.sent < scene.count and not tally.end:
            number = tally.sent
            scene.crosses("before", number)
            scene.note(STARTED, number + 1)
            message = scene.stream.message(number)
            kind = ECHO if len(message) < SHORTEST_TAGGED else OTHER
            scene.asked = now()
            try:
                if scene.form == "place":
                    with bus.call_zero_copy(len(message), kind) as slot:
                        with memoryview(slot) as view:
                            view[:] = message
                        scene.crosses("reserved", number)
                    begun = slot.out_cid
                elif scene.form in OPENS:
                    begun = bus.stream(OPENS[scene.form], message)
                else:
                    begun = bus.call(message, kind)
            except tachyon.TachyonError as error:
                if not (scene.reconnect and type(error) in ENDS):
                    tally.lose(error)
                continue
            scene.bytes += len(message)
            under_way.append((begun, number))
            tally.sent += 1
            scene.crosses("called", number)
            scene.note(COMMITTED, tally.sent)
            if len(under_way) >= (DEPTH if scene.form in {"pipelined", *OPENS} else 1):
                take(bus, *under_way.pop(scene.chance.randrange(len(under_way))))
            scene.rest()
        for one in under_way:
            take(bus, *one)
        return tally.answer(scene)


async def call_async(scene: Scene) -> str:
    tally = Tally()
    with scene.open_rpc() as bus:

        async def keep_calling() -> None:
            while tally.sent < scene.count and not tally.end:
                number = tally.sent
                tally.sent += 1
                message = scene.stream.message(number)
                scene.asked = now()
                try:
                    if scene.form in OPENS:
                        carry = tally.upload_later if scene.form == "async-client" else tally.take_items_later
                        await carry(scene, bus.astream(OPENS[scene.form], message), number)
                    else:
                        endpoint = echo if len(message) < SHORTEST_TAGGED else other
                        check_reply(scene, number, await endpoint.acall(bus, message))
                except tachyon.TachyonError as error:
                    tally.lost += 1
                    if not (scene.reconnect and type(error) in ENDS):
                        tally.lose(error)
                else:
                    scene.bytes += len(message)
                    tally.replies += 1
                await rest_later(scene)

        await asyncio.gather(*(keep_calling() for _ in range(DEPTH)))
        return tally.answer(scene)


class OpenStreams:
    """The streams of a callee that have not ended, and the items of all streams."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        # Several threads may serve.
        self.guard = threading.Lock()
        self.begun = self.ended = self.started = self.committed = self.taken = 0
        # The error of a malformed client stream, since a caller that is gone would not report it.
        self.wrong = ""

    @property
    def open(self) -> int:
        """Return the number of generators and uploads that have begun and have not ended."""
        with self.guard:
            return self.begun - self.ended

    def begin(self) -> None:
        with self.guard:
            self.begun += 1

    def end(self) -> None:
        with self.guard:
            self.ended += 1

    def start_item(self) -> None:
        with self.guard:
            number = self.started
            self.started += 1
            self.scene.note(ITEMS_STARTED, self.started)
        self.scene.crosses("item", number)

    def items(self, number: int, reply: bytes) -> Iterator[bytes]:
        """Yield the items of a stream."""
        self.begin()
        try:
            for _ in range(items_of(number)):
                self.start_item()
                yield reply
                # The serving thread asks for an item after it has published the item before.
                with self.guard:
                    self.committed += 1
                    self.scene.note(ITEMS_COMMITTED, self.committed)
        finally:
            self.end()

    async def items_later(self, number: int, reply: bytes) -> AsyncIterator[bytes]:
        """Yield the items of a stream of an event loop, which publishes an item later."""
        self.begin()
        try:
            for _ in range(items_of(number)):
                self.start_item()
                yield reply
        finally:
            self.end()

    def exchange(self, number: int, reply: bytes, requests: Stream, items: Iterator[bytes]) -> Iterator[bytes]:
        """Answer each item of the caller, which is the request again. A thread publishes an item later."""
        self.begin()
        try:
            for item in items:
                requests.check(number, item)
                self.start_item()
                yield reply
        finally:
            self.end()

    async def exchange_later(
        self, number: int, reply: bytes, requests: Stream, items: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """Answer each item of the caller, as `exchange` does, on an event loop."""
        self.begin()
        try:
            async for item in items:
                requests.check(number, item)
                self.start_item()
                yield reply
        finally:
            self.end()

    def upload(self, number: int, requests: Stream, items: Iterator[bytes]) -> bytes:
        """Take the items of a client stream, and return the reply."""
        self.begin()
        try:
            receipt = Receipt()
            for item in items:
                self.take_item(number, requests, item, receipt)
            return self.reply(number, receipt)
        finally:
            self.end()

    async def upload_later(self, number: int, requests: Stream, items: AsyncIterator[bytes]) -> bytes:
        """Take the items of a client stream, as `upload` does, on an event loop."""
        self.begin()
        try:
            receipt = Receipt()
            async for item in items:
                self.take_item(number, requests, item, receipt)
            return self.reply(number, receipt)
        finally:
            self.end()

    def take_item(self, number: int, requests: Stream, item: bytes, receipt: Receipt) -> None:
        """Check and count an item of a client stream."""
        try:
            requests.check(item_of(number, receipt.items), item)
        except WrongError as wrong:
            self.wrong = self.wrong or f"item {receipt.items} of {number}: {wrong}"
            raise
        receipt.add(item)
        with self.guard:
            before = self.taken
            self.taken += 1
            self.scene.note(ITEMS_TAKEN, self.taken)
        self.scene.crosses("item", before)

    def reply(self, number: int, receipt: Receipt) -> bytes:
        """Return the reply. The items of a caller that died before their end have an error, and no end."""
        try:
            check_end(number, receipt.items)
        except WrongError as wrong:
            self.wrong = self.wrong or str(wrong)
            raise
        return receipt.reply()

    def check_closed(self) -> None:
        """Check that the end of the connection has ended each stream, and that each client stream was right."""
        until = now() + int(PATIENCE * 1e9)
        while self.open:
            if now() > until:
                raise WrongError(f"{self.open} streams did not end")
            time.sleep(0.001)
        if self.wrong:
            raise WrongError(self.wrong)


class Responder:
    """The state that the handlers of a role share."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.taken, self.wrong = scene, 0, ""
        self.streams = OpenStreams(scene)

    def begin(self, *, answered: bool) -> int:
        with self.streams.guard:
            number = self.taken
            self.taken += 1
        if answered:
            # A dispatcher takes a request after it has sent the reply to the previous request.
            self.scene.note(COMMITTED, number)
        self.scene.note(TAKEN, number + 1)
        self.scene.crosses("handler", number)
        return number

    def reply(self, number: int, request: bytes | memoryview) -> bytes:
        scene = self.scene
        try:
            scene.stream.check(number, request)
        except WrongError as wrong:
            self.wrong = str(wrong)
        reply = bytes(request) if len(request) < SHORTEST_TAGGED else scene.replies.message(number)
        scene.bytes += len(request) + len(reply)
        return reply

    def handle(self, request: memoryview) -> bytes:
        number = self.begin(answered=True)
        self.scene.rest()
        reply = self.reply(number, request)
        self.scene.note(STARTED, number + 1)
        return reply

    def stream(self, request: bytes) -> Iterator[bytes]:
        # The last message of a stream may wait for room when the next request comes.
        number = self.begin(answered=False)
        self.scene.rest()
        reply = self.reply(number, request)
        self.scene.note(STARTED, number + 1)
        return self.streams.items(number, reply)

    def exchange(self, request: bytes, items: Iterator[bytes]) -> Iterator[bytes]:
        yield from self.streams.exchange(*self.exchanged(request), self.scene.stream, items)

    async def exchange_later(self, request: bytes, items: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        exchange = self.streams.exchange_later(*self.exchanged(request), self.scene.stream, items)
        async with contextlib.aclosing(exchange):
            async for item in exchange:
                yield item

    def upload(self, request: bytes, items: Iterator[bytes]) -> bytes:
        return self.streams.upload(self.exchanged(request)[0], self.scene.stream, items)

    async def upload_later(self, request: bytes, items: AsyncIterator[bytes]) -> bytes:
        return await self.streams.upload_later(self.exchanged(request)[0], self.scene.stream, items)

    def exchanged(self, request: bytes) -> tuple[int, bytes]:
        """Return the number and the reply of a stream whose threads begin in any order."""
        before, number = self.begin(answered=False), int.from_bytes(request[:8], "little") & LOW
        reply = self.reply(number, request)
        self.scene.note(STARTED, before + 1)
        return number, reply

    async def handle_later(self, request: memoryview) -> bytes:
        # Coroutines reply in any order, so the count of committed replies is unknown.
        number = self.begin(answered=False)
        await rest_later(self.scene)
        return self.reply(number, request)

    async def stream_later(self, request: bytes) -> AsyncIterator[bytes]:
        number = self.begin(answered=False)
        await rest_later(self.scene)
        async with contextlib.aclosing(self.streams.items_later(number, self.reply(number, request))) as items:
            async for item in items:
                yield item


async def rest_later(scene: Scene) -> None:
    """Pause as `Scene.rest` does, in a coroutine."""
    if scene.pause and scene.chance.randrange(4) == 0:
        await asyncio.sleep(scene.chance.randrange(scene.pause) / 1e6)


def answer(scene: Scene) -> str:
    responder, end = Responder(scene), "finished"
    with scene.open_rpc() as bus:
        try:
            if scene.form == "hand":
                end = answer_by_hand(scene, responder, bus)
            else:
                handler = responder.handle_later if scene.form == "async" else responder.handle
                dispatcher = RpcDispatcher()
                for kind in (ECHO, OTHER):
                    dispatcher.handler(kind)(handler)
                dispatcher.handler(STREAM)(responder.stream_later if scene.form == "async" else responder.stream)
                dispatcher.handler(TWO_WAY)(responder.exchange_later if scene.form == "async" else responder.exchange)
                dispatcher.handler(CLIENT)(responder.upload_later if scene.form == "async" else responder.upload)
                if scene.form == "async":
                    asyncio.run(dispatcher.aserve(bus))
                    end = "closed"
                elif scene.count == ENDLESS:
                    dispatcher.serve_forever(bus, scene.spins)
                    end = "closed"
                else:
                    for _ in range(scene.count):
                        dispatcher.serve_once(bus, scene.spins)
        except tachyon.TachyonError as error:
            end = end_of(error)
        if responder.wrong:
            raise WrongError(responder.wrong)
        responder.streams.check_closed()
        return scene.ended(end, taken=responder.taken, uploaded=responder.streams.taken)


def answer_by_hand(scene: Scene, responder: Responder, bus: RpcBus) -> str:
    while responder.taken < scene.count:
        number = responder.taken
        scene.asked = now()
        with bus.serve(scene.spins) as request, memoryview(request) as view:
            scene.stream.check(number, view)
            scene.bytes += len(view)
            scene.note(TAKEN, number + 1)
            scene.crosses("taken", number)
            cid, kind = request.correlation_id, request.type_id
            reply = bytes(view) if len(view) < SHORTEST_TAGGED else scene.replies.message(number)
        scene.rest()
        scene.crosses("handler", number)
        scene.note(STARTED, number + 1)
        responder.taken += 1
        try:
            with bus.reply_zero_copy(cid, len(reply), kind) as slot:
                with memoryview(slot) as view:
                    view[:] = reply
                scene.crosses("reply", number)
        except ConnectionError:
            # More requests may follow; `serve` reports their end.
            continue
        scene.crosses("answered", number)
        scene.bytes += len(reply)
        scene.note(COMMITTED, responder.taken)
    return "finished"


class Disconnects(logging.Handler):
    """Report the callers that leave a server, as its log names them."""

    def emit(self, record: logging.LogRecord) -> None:
        left = re.search(r"process (\d+)\) (died|closed|was disconnected)", record.getMessage())
        if left is not None:
            how = {"died": "dead"}.get(left[2], left[2].replace(" ", "_"))
            say(f"left how={how} pid={left[1]} at={now()}")
        elif record.levelno >= logging.WARNING:
            say("trouble error=" + re.sub(r"\s", "_", record.getMessage()))


class ManyCallers:
    """The handlers of a server. The seed in a request identifies its caller."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.streams = scene, OpenStreams(scene)
        self.counted: dict[int, int] = {}
        self.guard = threading.Lock()
        self.total = self.unary = 0

    def take(self, request: bytes | memoryview, kind: int) -> tuple[int, bytes]:
        """Check the next request of a caller, and return its number and the reply."""
        scene = self.scene
        tag = int.from_bytes(request[:8], "little")
        seed, number = tag >> 32, tag & LOW
        with self.guard:
            before = self.total
            self.total += 1
            # The serving thread has sent the reply to each unary request before it begins the next request. A thread
            # of a stream runs beside a unary request, and knows nothing of its reply.
            if kind == OTHER:
                scene.note(COMMITTED, self.unary)
                self.unary += 1
            scene.note(TAKEN, self.total)
            scene.crosses("handler", before)
            # A caller of an earlier server goes on with its next number.
            expected = self.counted.get(seed, number if scene.resumes else 0)
            # The threads of streams begin in any order.
            if number != expected and kind not in {TWO_WAY, CLIENT}:
                raise WrongError(f"request {number} of {seed} came where {expected} was due")
            whose = self.requests(request)
            whose.check(number, request)
            self.counted[seed] = expected + 1
            reply = whose.replies(scene.replies.most).message(number)
            scene.bytes += len(request) + len(reply)
            scene.note(STARTED, self.total)
        return number, reply

    def requests(self, request: bytes | memoryview) -> Stream:
        """Return the stream of a request."""
        return Stream(int.from_bytes(request[:8], "little") >> 32, self.scene.stream.least, self.scene.stream.most)

    def count(self, seed: memoryview) -> bytes:
        """Return the number of the handled requests of a caller."""
        return self.counted.get(int.from_bytes(seed, "little"), 0).to_bytes(8, "little")

    def handle(self, request: memoryview) -> bytes:
        self.scene.rest()
        return self.take(request, OTHER)[1]

    def stream(self, request: bytes) -> Iterator[bytes]:
        self.scene.rest()
        return self.streams.items(*self.take(request, STREAM))

    async def handle_later(self, request: memoryview) -> bytes:
        _, reply = self.take(request, OTHER)
        await rest_later(self.scene)
        return reply

    async def stream_later(self, request: bytes) -> AsyncIterator[bytes]:
        taken = self.take(request, STREAM)
        await rest_later(self.scene)
        async with contextlib.aclosing(self.streams.items_later(*taken)) as items:
            async for item in items:
                yield item

    def exchange(self, request: bytes, items: Iterator[bytes]) -> Iterator[bytes]:
        yield from self.streams.exchange(*self.take(request, TWO_WAY), self.requests(request), items)

    def upload(self, request: bytes, items: Iterator[bytes]) -> bytes:
        return self.streams.upload(self.take(request, CLIENT)[0], self.requests(request), items)

    async def upload_later(self, request: bytes, items: AsyncIterator[bytes]) -> bytes:
        return await self.streams.upload_later(self.take(request, CLIENT)[0], self.requests(request), items)

    async def exchange_later(self, request: bytes, items: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        exchange = self.streams.exchange_later(*self.take(request, TWO_WAY), self.requests(request), items)
        async with contextlib.aclosing(exchange):
            async for item in exchange:
                yield item


def serve(scene: Scene) -> str:
    scene.crosses("handshake", 0)
    log = logging.getLogger("tachyon")
    disconnects = Disconnects()
    log.addHandler(disconnects)
    log.setLevel(logging.INFO)
    log.propagate = False
    handlers, dispatcher = ManyCallers(scene), RpcDispatcher()
    with RpcServer(scene.path, forward=scene.forward, reverse=scene.reverse, handshake_timeout=HANDSHAKE) as server:
        dispatcher.handler(ECHO)(bytes)
        dispatcher.handler(OTHER)(handlers.handle_later if scene.form == "async" else handlers.handle)
        dispatcher.handler(STREAM)(handlers.stream_later if scene.form == "async" else handlers.stream)
        dispatcher.handler(TWO_WAY)(handlers.exchange_later if scene.form == "async" else handlers.exchange)
        dispatcher.handler(CLIENT)(handlers.upload_later if scene.form == "async" else handlers.upload)
        dispatcher.handler(COUNT)(handlers.count)
        dispatcher.handler(OPEN)(lambda _: handlers.streams.open.to_bytes(8, "little"))
        dispatcher.handler(STOP)(lambda _: server.stop() or b"")
        scene.begin()
        say("serving")
        if scene.form == "async":
            asyncio.run(dispatcher.aserve(server))
        else:
            dispatcher.serve_forever(server, workers=2 if scene.form == "workers" else 1)
    log.removeHandler(disconnects)
    handlers.streams.check_closed()
    return scene.ended("finished", taken=handlers.total)


def footprint() -> str:
    """Return the resources of this process."""
    maps = Path("/proc/self/maps").read_text()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    facts = {
        # The read of the folder opens one descriptor.
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,  # noqa: PTH208  # no more objects than needed
        "segments": maps.count("memfd:"),
        "mappings": maps.count("\n"),
        "threads": int(status["Threads"]),
        "resident": int(status["VmRSS"].split()[0]),
    }
    return " ".join(["footprint", *(f"{key}={value}" for key, value in facts.items())])


def say(line: str) -> None:
    """Write a line in one piece, beside other threads."""
    os.write(1, f"{line}\n".encode())


ROLES = {"send": send, "receive": receive, "call": call, "answer": answer, "serve": serve}
HANDSHAKE = 10.0
"""Seconds of the longest handshake: a busy machine may delay a caller."""

UNCONNECTED = {
    tachyon.NoListenerError: "no-listener",
    tachyon.errors.NotASocketError: "not-a-socket",
    tachyon.errors.HandshakeError: "hung-up",
    tachyon.TimedOutError: "no-answer",
}


def play(order: str) -> str:
    """Play the role of an order, and return the outcome."""
    word, *pairs = order.split()
    if word == "footprint":
        return footprint()
    scene = None
    try:
        scene = Scene(dict(pair.split("=", 1) for pair in pairs))
        return ROLES[word](scene)
    except tachyon.TachyonError as error:
        if type(error) in UNCONNECTED:
            return f"unconnected end={UNCONNECTED[type(error)]} at={now()}"
        return "failed error=" + re.sub(r"\s", "_", repr(error))
    except WrongError as error:
        return "failed error=" + re.sub(r"\s", "_", str(error))
    finally:
        if scene is not None and scene.page is not None:
            scene.words = None
            with contextlib.suppress(BufferError):
                scene.page.close()


def main() -> None:
    """Play a role for each line of standard input."""
    for line in sys.stdin:
        say(play(line))


def breed() -> None:
    """Fork an actor for each line of standard input, which names the two pipes of the actor."""
    # A fork is much faster than the start of an interpreter. The kernel reaps the actors.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        child = os.fork()
        if child:
            say(f"bred pid={child}")
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        orders, answers = line.split()
        for descriptor, pipe, flags in ((0, orders, os.O_RDONLY), (1, answers, os.O_WRONLY)):
            opened = os.open(pipe, flags)
            os.dup2(opened, descriptor)
            os.close(opened)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  # a descriptor has no path, and stays open
        main()
        os._exit(0)


if __name__ == "__main__":
    if sys.argv[1:] == ["breed"]:
        breed()
    else:
        main()
