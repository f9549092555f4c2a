"""`tachyon call` of streams: items as lines of JSON, in both directions, and every end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator  # noqa: TC003 - the hints of endpoints are read
from contextlib import contextmanager

import pytest

from programs import program, tachyon_command
from serving_thread import serving
from tachyon import RpcDispatcher
from test_streams import CHAT, COUNT, FOREVER, UPLOAD, UPLOAD_SOME
from test_streams_typed import chat, upload

LIMIT = 60.0


@contextmanager
def running(name: str, role: str, path: str) -> Iterator[None]:
    """Run a program of the tests in a role, until it is killed."""
    with subprocess.Popen([program(name), role, path], stdout=subprocess.DEVNULL) as peer:
        try:
            yield
        finally:
            peer.kill()


def called(path: str, name: object, *arguments: str, lines: str = "") -> subprocess.CompletedProcess[str]:
    """Run `tachyon call` with lines of standard input."""
    command = [sys.executable, "-W", "error", "-m", "tachyon", "call", path, str(name), *arguments]
    return subprocess.run(command, input=lines, capture_output=True, text=True, timeout=LIMIT, check=False)


def values(done: subprocess.CompletedProcess[str]) -> list[object]:
    """Return the printed values of a command that succeeded."""
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_items_of_the_callee_are_lines(path: str) -> None:
    with running("stream_peer", "workers", path):
        found = values(called(path, "quotes", '{"instrument": 7, "count": 2}'))
        assert found == [{"price": number / 2, "instrument": 7, "number": number} for number in range(2)]
        assert values(called(path, "words", '"eins zwei"')) == ["eins", "zwei"]
        assert values(called(path, "maybe", "3")) == [0, None, 2]
        assert values(called(path, "ticks", "2")) == [None, None]
        assert values(called(path, "frames", "2")) == [[[0.5, 0.5]], [[0.5, 0.5]] * 2]
        assert values(called(path, "count", "0")) == []
        failed = called(path, "sell", '{"stock": 2, "wanted": 9}')
        assert (failed.returncode, failed.stdout) == (1, "0\n1\n")
        assert failed.stderr == "tachyon: sell: HANDLER_FAILED SoldOut: 0 left\n"


def test_items_of_msgpack_are_any_value(path: str) -> None:
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=1, codec="msgpack")
    def shown(first: int, items: Iterator[int | str | list[int] | dict[str, int] | None]) -> str:
        return f"{first} {list(items)}"

    given: list[object] = [1, "two", [3], {"four": 4}, None]
    with serving(dispatcher, path):
        done = called(path, "shown", '{"first": 0}', lines="".join(json.dumps(each) + "\n" for each in given))
        assert values(done) == [f"0 {given}"]


def test_items_without_a_type_are_text_or_hexadecimal(path: str) -> None:
    with running("raw_streams", "server", path):
        assert values(called(path, CHAT, '""', lines='"abc"\n\n"d"\n')) == ["ABC", "D"]
        endless = [sys.executable, "-W", "error", "-m", "tachyon", "call", path, str(FOREVER), '""']
        with subprocess.Popen(endless, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stderr is not None
            assert json.loads(child.stdout.readline()) == "\x01\x00\x00\x00"
            child.send_signal(signal.SIGINT)
            child.stdout.read()
            assert (child.wait(LIMIT), child.stderr.read()) == (130, "")
        slow = called(path, 7, json.dumps("\x40\x04\x00\x00"), "--timeout", "0.2")
        assert (slow.returncode, slow.stdout) == (1, "")
        assert "timed out" in slow.stderr
        assert called(path, COUNT, json.dumps("\x02\x00\x00\x00")).stdout.count("\n") == 2


def test_items_of_the_caller_are_lines_of_input(path: str) -> None:
    with running("raw_streams", "workers", path):
        assert values(called(path, UPLOAD, '"sizes "', lines='"abc"\n"defg"')) == ["sizes \x07" + "\x00" * 7]
        assert values(called(path, UPLOAD, '"x"')) == ["x" + "\x00" * 8]
        failed = called(path, UPLOAD_SOME, '""', lines='"abc"\n' * 1000)
        assert (failed.returncode, failed.stdout) == (1, "")
        assert failed.stderr == "tachyon: upload_some: RESOURCE_EXHAUSTED\n"
        failed = called(path, UPLOAD, '"x"', lines='"abc"\n{\n')
        assert failed.returncode == 1
        assert failed.stderr.startswith("tachyon: line 2: ")
        assert values(called(path, UPLOAD, '"after"')) == ["after" + "\x00" * 8]


def test_a_callee_that_ends_first_ends_the_command(path: str) -> None:
    with running("raw_streams", "server", path):
        command = [sys.executable, "-W", "error", "-m", "tachyon", "call", path, str(UPLOAD_SOME), '""']
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            # Its input stays open.
            assert child.wait(LIMIT) == 1
            assert child.stderr is not None
            assert "RESOURCE_EXHAUSTED" in child.stderr.read()


def test_typed_items_in_both_directions(path: str) -> None:
    dispatcher = RpcDispatcher()
    dispatcher.register(chat)
    dispatcher.register(upload)
    line = {"number": 1, "text": "abc", "note": None}
    with serving(dispatcher, path):
        assert values(called(path, "chat", lines='"a"\n"b"')) == [
            {"number": 0, "text": "A", "note": None},
            {"number": 1, "text": "B", "note": None},
        ]
        assert values(called(path, "upload", '"name:"', lines=f"{json.dumps(line)}\n" * 3)) == ["name:abcabcabc"]
        wrong = called(path, "upload", '"name:"', lines='{"number": 1}\n')
        assert wrong.returncode == 1
        assert wrong.stderr == "tachyon: line 1: the item is an object of number, text, note, and `text` is missing\n"
        # A conversation: each answer comes before the next line.
        command = [sys.executable, "-W", "error", "-m", "tachyon", "call", path, "chat"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            for number in range(3):
                child.stdin.write(f'"text {number}"\n')
                assert json.loads(child.stdout.readline())["text"] == f"TEXT {number}"
                time.sleep(0.01)
            child.stdin.close()
            assert child.wait(LIMIT) == 0


@pytest.mark.parametrize("name", ["99", "nothing"])
def test_an_unknown_endpoint_is_named(path: str, name: str) -> None:
    with running("raw_streams", "server", path):
        done = tachyon_command("call", path, name)
        assert done.returncode == 1
        assert "its endpoints: echo, count" in done.stderr
