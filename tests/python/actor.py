"""The Python actor of `chaos`: reads orders from standard input, one a line, and answers each with one line.

Its Rust twin is the program `actor` of the crate `tachyon-tests`; both take the same orders, make the same messages and
keep the same notes. See `tests/src/chaos`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
import os
import random
import re
import signal
import sys
import threading
import time
import zlib
from pathlib import Path

import tachyon
from tachyon import Bus, RpcBus, RpcDispatcher, RpcServer, tachyon_rpc

SHORTEST_TAGGED = 12
USUALLY_BELOW = 257
MASK = (1 << 64) - 1
LOW = (1 << 32) - 1
ENDLESS = MASK
LISTEN = 30.0
DEPTH = 24
READY, STARTED, COMMITTED, TAKEN, DIED_AT, STOPPING, CHILD = range(7)
ECHO, OTHER, COUNT, STOP = 1, 2, 7, 9
ENDS = {tachyon.PeerClosedError: "closed", tachyon.PeerDeadError: "dead"}
FILLING = random.Random(1).randbytes(1 << 21)

echo, other = tachyon_rpc(ECHO)(bytes), tachyon_rpc(OTHER)(bytes)


class WrongError(Exception):
    """A message is not the one that was due."""


def now() -> int:
    """Return what the monotonic clock shows, in nanoseconds."""
    return time.monotonic_ns()


def mix(value: int) -> int:
    """Return the finalizer of SplitMix64."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


class Stream:
    """Messages that say themselves where they belong; the twin of `numbered::Stream`."""

    def __init__(self, seed: int, least: int, most: int) -> None:
        self.seed, self.least, self.most = seed, least, most

    def replies(self, most: int) -> Stream:
        """Return the stream of replies to this one."""
        return Stream(self.seed ^ 0x5EED, min(SHORTEST_TAGGED, most), most)

    def tag(self, number: int) -> int:
        return self.seed << 32 | (number & LOW)

    def len_of(self, number: int) -> int:
        chance = mix(self.tag(number))
        span = self.most - self.least + 1
        if chance % 4:
            span = min(span, USUALLY_BELOW)
        return self.least + (chance >> 16) % span

    def untagged(self, number: int, size: int) -> bytes:
        return (mix(~self.tag(number) & MASK).to_bytes(8, "little") + bytes(4))[:size]

    def message(self, number: int) -> bytes:
        size = self.len_of(number)
        if size < SHORTEST_TAGGED:
            return self.untagged(number, size)
        start = number % 65536
        body = self.tag(number).to_bytes(8, "little") + FILLING[start : start + size - SHORTEST_TAGGED]
        return body + zlib.crc32(body).to_bytes(4, "little")

    def check(self, number: int, message: bytes | memoryview) -> None:
        size, expected = len(message), self.len_of(number)
        if size != expected:
            raise WrongError(f"message {number}: {size} bytes where {expected} were due")
        if size < SHORTEST_TAGGED:
            if bytes(message) != self.untagged(number, size):
                raise WrongError(f"message {number}: bytes that nobody sent")
            return
        tag = int.from_bytes(message[:8], "little")
        if tag != self.tag(number):
            raise WrongError(f"message {number}: the tag {tag:#x} where {self.tag(number):#x} was due")
        if zlib.crc32(message[:-4]) != int.from_bytes(message[-4:], "little"):
            raise WrongError(f"message {number}: bytes that nobody sent")


class Scene:
    """What every role has in common: its connection's options, its stream, its notes, its end."""

    def __init__(self, order: dict[str, str]) -> None:
        number = lambda key, otherwise: int(order.get(key, otherwise))  # noqa: E731
        self.path, self.listens = order["path"], order.get("side") == "listen"
        self.forward, self.reverse = number("forward", 4096), number("reverse", 4096)
        self.stream = Stream(number("seed", 1), number("least", 0), number("most", self.forward))
        self.replies = self.stream.replies(number("most_reply", self.reverse))
        self.count, self.pause = number("count", ENDLESS), number("pause", 0)
        self.mode, self.form = order.get("mode", ""), order.get("form", "")
        self.spins = {"park": 0, "spins": 200}.get(self.mode)
        self.timeout = number("timeout", int(LISTEN * 1000)) / 1000
        self.reconnect, self.resumes = order.get("reconnect") == "1", order.get("resume") == "1"
        self.chance = random.Random(self.stream.seed)
        self.point, self.at, self.stops = order.get("die", ""), number("at", 0), order.get("how") == "stop"
        self.forks = order.get("fork") == "1"
        self.bytes = self.asked = 0
        self.words: memoryview | None = None
        self.page: mmap.mmap | None = None
        if "ledger" in order:
            with Path(order["ledger"]).open("r+b") as file:
                self.page = mmap.mmap(file.fileno(), 0)
            # Whole words are written at once, as the Rust side does.
            self.words = memoryview(self.page).cast("Q")

    def note(self, word: int, value: int) -> None:
        if self.words is not None:
            self.words[word] = value

    def crosses(self, point: str, number: int) -> None:
        """Die, or stop and wait to be killed, if this is the point and the message for it."""
        if point != self.point or number != self.at:
            return
        if self.stops:
            self.note(STOPPING, 1)
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            self.note(DIED_AT, now())
            os.kill(os.getpid(), signal.SIGKILL)

    def begin(self) -> None:
        """Note that the connection stands."""
        if self.forks:
            child = os.fork()
            if child == 0:
                while os.read(0, 1):
                    pass
                os._exit(0)
            self.note(CHILD, child)
        self.note(READY, 1)

    def rest(self) -> None:
        if self.pause and self.chance.randrange(4) == 0:
            time.sleep(self.chance.randrange(self.pause) / 1e6)

    def open_bus(self) -> Bus:
        self.crosses("handshake", 0)
        if self.listens:
            bus = Bus.listen(self.path, self.forward, timeout=self.timeout)
        else:
            bus = Bus.connect(self.path, timeout=self.timeout)
        bus.set_polling_mode(int(self.mode == "spin"))
        self.begin()
        return bus

    def open_rpc(self) -> RpcBus:
        self.crosses("handshake", 0)
        if self.listens:
            bus = RpcBus.listen(self.path, self.forward, self.reverse, timeout=self.timeout)
        else:
            bus = RpcBus.connect(self.path, timeout=self.timeout, reconnect=self.reconnect)
        bus.set_polling_mode(int(self.mode == "spin"))
        self.begin()
        return bus

    def ended(self, end: str, **facts: int) -> str:
        facts = {"asked": self.asked, "at": now(), "bytes": self.bytes} | facts
        self.words = None
        return " ".join([f"ended end={end}", *(f"{key}={value}" for key, value in facts.items())])


def end_of(error: tachyon.TachyonError) -> str:
    """Return the word by which the driver knows an end."""
    return ENDS.get(type(error)) or re.sub(r"\s", "_", repr(error))


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
    """What has come of the calls so far."""

    def __init__(self) -> None:
        self.sent = self.replies = self.lost = 0
        self.end = ""

    def lose(self, error: tachyon.TachyonError) -> None:
        end = end_of(error)
        self.end = self.end or end
        if self.end != end:
            raise WrongError(f"one call ended with {self.end}, another one with {end}")

    def answer(self, scene: Scene) -> str:
        return scene.ended(self.end or "finished", sent=self.sent, replies=self.replies, lost=self.lost)


def check_reply(scene: Scene, number: int, reply: bytes | memoryview) -> None:
    short = scene.stream.len_of(number) < SHORTEST_TAGGED
    (scene.stream if short else scene.replies).check(number, reply)
    scene.bytes += len(reply)


def call(scene: Scene) -> str:
    if scene.form == "async":
        return asyncio.run(call_async(scene))
    tally = Tally()
    under_way: list[tuple[int, int]] = []

    def take(bus: RpcBus, cid: int, number: int) -> None:
        if not tally.end:
            scene.asked = now()
        try:
            with bus.wait(cid, scene.spins) as reply, memoryview(reply) as view:
                if reply.error_kind is not None:
                    raise WrongError(f"call {number} was refused: {bytes(view)!r}")
                check_reply(scene, number, view)
                scene.crosses("replied", number)
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
                    cid = slot.out_cid
                else:
                    cid = bus.call(message, kind)
            except tachyon.TachyonError as error:
                if not (scene.reconnect and type(error) in ENDS):
                    tally.lose(error)
                continue
            scene.bytes += len(message)
            under_way.append((cid, number))
            tally.sent += 1
            scene.crosses("called", number)
            scene.note(COMMITTED, tally.sent)
            if len(under_way) >= (DEPTH if scene.form == "pipelined" else 1):
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
                endpoint = echo if len(message) < SHORTEST_TAGGED else other
                scene.asked = now()
                try:
                    reply = await endpoint.acall(bus, message)
                except tachyon.TachyonError as error:
                    tally.lost += 1
                    if not (scene.reconnect and type(error) in ENDS):
                        tally.lose(error)
                else:
                    scene.bytes += len(message)
                    check_reply(scene, number, reply)
                    tally.replies += 1
                if scene.pause and scene.chance.randrange(4) == 0:
                    await asyncio.sleep(scene.chance.randrange(scene.pause) / 1e6)

        await asyncio.gather(*(keep_calling() for _ in range(DEPTH)))
        return tally.answer(scene)


class Desk:
    """What the handlers of one performance share."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.taken, self.wrong = scene, 0, ""

    def begin(self) -> int:
        number = self.taken
        self.taken += 1
        # A dispatcher takes a request once it has sent the reply to the one before.
        self.scene.note(COMMITTED, number)
        self.scene.note(TAKEN, number + 1)
        self.scene.crosses("handler", number)
        return number

    def reply(self, number: int, request: memoryview) -> bytes:
        scene = self.scene
        try:
            scene.stream.check(number, request)
        except WrongError as wrong:
            self.wrong = str(wrong)
        reply = bytes(request) if len(request) < SHORTEST_TAGGED else scene.replies.message(number)
        scene.bytes += len(request) + len(reply)
        scene.note(STARTED, number + 1)
        return reply

    def handle(self, request: memoryview) -> bytes:
        number = self.begin()
        self.scene.rest()
        return self.reply(number, request)

    async def handle_later(self, request: memoryview) -> bytes:
        # A coroutine may be answered after one that was taken later: there is no saying what was committed.
        number = self.taken
        self.taken += 1
        self.scene.note(TAKEN, number + 1)
        self.scene.crosses("handler", number)
        if self.scene.pause and self.scene.chance.randrange(4) == 0:
            await asyncio.sleep(self.scene.chance.randrange(self.scene.pause) / 1e6)
        return self.reply(number, request)


def answer(scene: Scene) -> str:
    desk, end = Desk(scene), "finished"
    with scene.open_rpc() as bus:
        try:
            if scene.form == "hand":
                end = answer_by_hand(scene, desk, bus)
            else:
                handler = desk.handle_later if scene.form == "async" else desk.handle
                dispatcher = RpcDispatcher()
                for kind in (ECHO, OTHER):
                    dispatcher.handler(kind)(handler)
                if scene.form == "async":
                    asyncio.run(dispatcher.serve_async(bus))
                    end = "closed"
                elif scene.count == ENDLESS:
                    dispatcher.serve_forever(bus, scene.spins)
                    end = "closed"
                else:
                    for _ in range(scene.count):
                        dispatcher.serve_once(bus, scene.spins)
        except tachyon.TachyonError as error:
            end = end_of(error)
        if desk.wrong:
            raise WrongError(desk.wrong)
        return scene.ended(end, taken=desk.taken)


def answer_by_hand(scene: Scene, desk: Desk, bus: RpcBus) -> str:
    while desk.taken < scene.count:
        number = desk.taken
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
        desk.taken += 1
        try:
            with bus.reply_zero_copy(cid, len(reply), kind) as slot:
                with memoryview(slot) as view:
                    view[:] = reply
                scene.crosses("reply", number)
        except ConnectionError:
            # There may be more requests all the same; their end is for `serve` to report.
            continue
        scene.crosses("answered", number)
        scene.bytes += len(reply)
        scene.note(COMMITTED, desk.taken)
    return "finished"


class Departures(logging.Handler):
    """Says which callers of a server leave, as its log tells."""

    def emit(self, record: logging.LogRecord) -> None:
        left = re.search(r"process (\d+)\) (died|closed|was disconnected)", record.getMessage())
        if left is not None:
            how = {"died": "dead"}.get(left[2], left[2].replace(" ", "_"))
            say(f"left how={how} pid={left[1]} at={now()}")
        elif record.levelno >= logging.WARNING:
            say("trouble error=" + re.sub(r"\s", "_", record.getMessage()))


def serve(scene: Scene) -> str:
    scene.crosses("handshake", 0)
    log = logging.getLogger("tachyon")
    departures = Departures()
    log.addHandler(departures)
    log.setLevel(logging.INFO)
    log.propagate = False
    counted: dict[int, int] = {}
    guard = threading.Lock()
    dispatcher = RpcDispatcher(send_error_text=True)
    total = 0

    def take(request: memoryview) -> bytes:
        nonlocal total
        tag = int.from_bytes(request[:8], "little")
        seed, number = tag >> 32, tag & LOW
        with guard:
            before = total
            total += 1
            scene.note(COMMITTED, before)
            scene.note(TAKEN, total)
            scene.crosses("handler", before)
            # Who had another server before this one goes on where it was.
            expected = counted.get(seed, number if scene.resumes else 0)
            if number != expected:
                raise WrongError(f"request {number} of {seed} came where {expected} was due")
            whose = Stream(seed, scene.stream.least, scene.stream.most)
            whose.check(number, request)
            counted[seed] = number + 1
            reply = whose.replies(scene.replies.most).message(number)
            scene.bytes += len(request) + len(reply)
            scene.note(STARTED, total)
        return reply

    def handle(request: memoryview) -> bytes:
        scene.rest()
        return take(request)

    async def handle_later(request: memoryview) -> bytes:
        reply = take(request)
        if scene.pause and scene.chance.randrange(4) == 0:
            await asyncio.sleep(scene.chance.randrange(scene.pause) / 1e6)
        return reply

    with RpcServer(scene.path, forward=scene.forward, reverse=scene.reverse, handshake_timeout=0.5) as server:
        dispatcher.handler(ECHO)(bytes)
        dispatcher.handler(OTHER)(handle_later if scene.form == "async" else handle)
        dispatcher.handler(COUNT)(
            lambda request: counted.get(int.from_bytes(request, "little"), 0).to_bytes(8, "little")
        )
        dispatcher.handler(STOP)(lambda _: server.stop() or b"")
        scene.begin()
        say("serving")
        if scene.form == "async":
            asyncio.run(dispatcher.serve_async(server))
        else:
            dispatcher.serve_forever(server, workers=2 if scene.form == "workers" else 1)
    log.removeHandler(departures)
    return scene.ended("finished", taken=total)


def footprint() -> str:
    """Return what this process has of the system."""
    maps = Path("/proc/self/maps").read_text()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    facts = {
        # One of them is the folder that is read.
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,  # noqa: PTH208  # no more objects than needed
        "segments": maps.count("memfd:"),
        "mappings": maps.count("\n"),
        "threads": int(status["Threads"]),
        "resident": int(status["VmRSS"].split()[0]),
    }
    return " ".join(["footprint", *(f"{key}={value}" for key, value in facts.items())])


def say(line: str) -> None:
    """Say one line, whole, whatever other threads say."""
    os.write(1, f"{line}\n".encode())


ROLES = {"send": send, "receive": receive, "call": call, "answer": answer, "serve": serve}
UNCONNECTED = {
    tachyon.NoListenerError: "no-listener",
    tachyon.HandshakeError: "hung-up",
    tachyon.TimedOutError: "no-answer",
}


def play(order: str) -> str:
    """Play the role that an order asks for, and return how it went."""
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
    """Play one role after the other, until standard input ends."""
    for line in sys.stdin:
        say(play(line))


def breed() -> None:
    """Fork an actor for each line of standard input, which names the two pipes that it speaks through."""
    # An interpreter takes long to start, and many are needed. Nobody waits for them here.
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
        sys.stdin = open(0, closefd=False)  # noqa: PTH123, SIM115  # a descriptor has no path, and stays open
        main()
        os._exit(0)


if __name__ == "__main__":
    if sys.argv[1:] == ["breed"]:
        breed()
    else:
        main()
