"""Every example talks to its twins in both languages; the demo reports results and failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "examples/python"
BINARIES = Path(os.environ.get("TACHYON_EXAMPLES", ROOT / "target/release"))
INPUT = ROOT / ".demo"
LIMIT = 30.0
"""Seconds after which a child is given up, far beyond the need of any child."""

PAIRS = [(one, other) for one in ("Rust", "Python") for other in ("Rust", "Python")]
"""The two sides of each test: first the listener, then the connecting side."""

pair = pytest.mark.parametrize(("listener", "connector"), PAIRS, ids=lambda language: language)


def command(language: str, name: str, *args: object) -> list[str]:
    program = [sys.executable, "-W", "error", str(SCRIPTS / f"{name}.py")]
    if language == "Rust":
        binary = BINARIES / name
        assert binary.exists(), f"{binary} is not built: run `make build`, or set TACHYON_EXAMPLES"
        program = [str(binary)]
    return program + [str(arg) for arg in args]


def run(*commands: list[str]) -> list[list[str]]:
    """Run all commands at once; return the printed lines of each."""
    with ExitStack() as stack:
        processes = []
        for one in commands:
            process = subprocess.Popen(one, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        outputs = [process.communicate(timeout=LIMIT) for process in processes]
    for process, (out, err) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, f"{process.args} exited {process.returncode}\n{out}\n{err}"
    return [out.splitlines() for out, _ in outputs]


@pair
def test_echo(listener: str, connector: str, path: str) -> None:
    callee, caller = run(command(listener, "echo", "callee", path), command(connector, "echo", "caller", path))
    assert callee[-1] == "the caller is done"
    assert caller == ["the callee says: hello tachyon"]


def test_pool_and_tokio_callers() -> None:
    (pool,), (tokio,) = run(command("Rust", "pool_caller")), run(command("Rust", "tokio_caller"))
    assert pool[0].startswith("8000 calls by 8 threads over ")
    assert pool[1:] == ["shared memory: 4 vowels", "rings: 1 vowels", "aeiou: 5 vowels"]
    assert tokio[0].startswith("1000 squares add up to 332833500, ")
    assert tokio[1:] == ["ponder: too slow, given up", "12 squared is 144"]


def test_tokio_server(path: str) -> None:
    server, caller = run(command("Rust", "tokio_server", path), command("Rust", "tokio_caller", path))
    assert server == [f"serving at {path}", "pondered 1 times, 1 of them cancelled"]
    assert caller[0].startswith("1000 squares add up to 332833500, ")
    assert caller[1:] == ["ponder: too slow, given up", "12 squared is 144"]


@pair
def test_rpc(listener: str, connector: str, path: str) -> None:
    _, caller = run(
        command(listener, "rpc_callee", path, INPUT / "stocks.csv"),
        command(connector, "rpc_caller", path, INPUT / "temperatures.f64"),
    )
    assert caller.pop(5) == "NOPE: refused"
    assert caller == [
        "AAPL: from 25.94 to 223.02, between 7.07 and 223.02",
        "AMZN: from 64.56 to 128.82, between 5.97 and 135.91",
        "GOOG: from 102.37 to 560.19, between 102.37 and 707.00",
        "IBM: from 100.52 to 125.55, between 53.01 and 130.32",
        "MSFT: from 39.81 to 28.80, between 15.81 and 43.22",
        "8759 hours: between 37.5 and 75.9, mean 52.03, warmest hour 5007",
    ]


@pair
def test_bus(listener: str, connector: str, path: str) -> None:
    consumer, producer = run(
        command(listener, "bus_consumer", path), command(connector, "bus_producer", path, INPUT / "stocks.csv")
    )
    assert producer == ["sent 560 prices"]
    assert consumer == [
        "AAPL: 123 prices, highest 223.02",
        "AMZN: 123 prices, highest 135.91",
        "GOOG: 68 prices, highest 707.00",
        "IBM: 123 prices, highest 130.32",
        "MSFT: 123 prices, highest 43.22",
    ]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("language", ["Rust", "Python"])
def test_server(language: str, workers: int, path: str) -> None:
    """Callers of both languages at once, each checking its replies."""
    server = command(language, "server", "serve", path, workers)
    with subprocess.Popen(server, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            callers = [command(caller, "server", "call", path, 2000) for caller in ("Rust", "Python") * 2]
            for introduced, done in run(*callers):
                assert introduced.startswith("caller ")
                assert done == "2000 calls, all correct"
            run(command("Python" if language == "Rust" else "Rust", "server", "stop", path))
            out, err = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    assert (process.returncode, out.splitlines(), err) == (0, [f"serving at {path}", "stopped"], "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("language", ["Rust", "Python"])
def test_a_signal_stops_the_server(language: str, number: signal.Signals, path: str) -> None:
    server = command(language, "server", "serve", path, 2)
    with subprocess.Popen(server, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            ((_, done),) = run(command("Rust", "server", "call", path, 10))
            assert done == "10 calls, all correct"
            process.send_signal(number)
            out, err = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    assert (process.returncode, out.splitlines(), err) == (0, [f"serving at {path}", "stopped"], "")


def test_pool_caller() -> None:
    (lines,) = run(command("Python", "pool_caller"))
    assert lines == [
        "4000 calls by 8 threads over 3 connections",
        "shared memory: 4 vowels",
        "rings: 1 vowels",
        "aeiou: 5 vowels",
        "together: 10 vowels",
    ]


def test_asyncio_caller() -> None:
    (lines,) = run(command("Python", "asyncio_caller"))
    assert lines == ["1000 squares add up to 332833500", "ponder: too slow, given up", "12 squared is 144"]


def test_asyncio_server(path: str) -> None:
    server = command("Python", "asyncio_server", "serve", path)
    with subprocess.Popen(server, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            (lines,) = run(command("Python", "asyncio_server", "call", path))
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    assert lines == [
        "3 cities",
        "30 answers, together",
        "Oslo: 3.5 degrees",
        "Porto: 16.0 degrees",
        "Quito: 14.5 degrees",
    ]
    assert (process.returncode, out.splitlines(), err) == (0, [f"serving at {path}", "stopped"], "")


def test_model_server(path: str) -> None:
    """Callers of both languages at once."""
    server = command("Python", "model_server", path)
    with subprocess.Popen(server, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            outputs = run(*(command(caller, "model_caller", path) for caller in ("Rust", "Python") * 2))
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    for lines in outputs:
        assert lines == [
            "image 0: horizontal, score 9.7",
            "image 1: vertical, score 9.7",
            "image 2: falling, score 9.7",
            "image 3: rising, score 9.7",
            "4 images of half the size, 4 scores each",
            "an image has 2 x 64 pixels, and the model needs 3 x 3",
        ]
    assert (process.returncode, out.splitlines(), err) == (0, [f"serving at {path}", "stopped"], "")


@pair
def test_shapes(listener: str, connector: str, path: str) -> None:
    _, caller = run(command(listener, "shape_service", path), command(connector, "shape_caller", path))
    assert caller == [
        "circle: 3.14",
        "group: 7.14",
        "circle: a circle of radius 2.0",
        "square: a polygon of 4 points",
        "a polygon of 2 points has no area",
    ]


@pair
def test_routes(listener: str, connector: str, path: str) -> None:
    """One call, and a stream of each kind."""
    _, caller = run(command(listener, "route_service", path), command(connector, "route_caller", path))
    assert caller == [
        "at the trail: Berkshire Valley Management Area Trail, Jefferson",
        "no feature at (0, 0)",
        "in the area: Patriots Path, Mendham",
        "in the area: Berkshire Valley Management Area Trail, Jefferson",
        "in the area: U.S. 6, Shohola",
        "in the area: Mid Hudson Psychiatric Center, New Hampton",
        "5 points with 4 features, 112.6 km",
        "an earlier note at the trail: first",
        "an earlier note at the trail: first",
        "an earlier note at the trail: third",
    ]


def test_token_model(path: str) -> None:
    """The front end drops its stream, which ends the generator of the model."""
    server = command("Python", "token_model", path)
    with subprocess.Popen(server, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            frontends = [("We are", 40, 1), ("We are", 40, 1), ("the people,", 7, 2), ("Tachyon", 5, 3)]
            outputs = [run(command("Rust", "token_frontend", path, *each))[0] for each in frontends]
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    assert outputs[0] == outputs[1]
    for (prompt, budget, _), (line,) in zip(frontends[:3], outputs, strict=False):
        assert line.startswith(f"{prompt} ")
        assert len(line.split()) == len(prompt.split()) + budget
    assert outputs[3] == ["Tachyon: the model does not know the word Tachyon"]
    first, *generated = out.splitlines()
    assert first == f"serving at {path}"
    assert [line.partition(" words after ")[2] for line in generated] == ["'We are'", "'We are'", "'the people,'"]
    # The model is at most the window ahead of its reader.
    for (_, budget, _), line in zip(frontends[:3], generated, strict=True):
        assert budget <= int(line.partition(" ")[0]) <= budget + 2 * 32
    assert (process.returncode, err) == (0, "")


def test_upload(path: str, tmp_path: Path) -> None:
    """An upload in chunks, a conversion with its progress, and an upload that is given up."""
    upload(path, path, tmp_path)


def upload(path: str, at: str, tmp_path: Path) -> None:
    """Upload to the server at `path`, over the path `at`."""
    file = INPUT / "stocks.csv"
    server = command("Rust", "upload_service", path, tmp_path)
    with subprocess.Popen(server, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            (lines,) = run(command("Python", "upload_caller", at, file))
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    uploaded, *progress, given_up = lines
    assert uploaded == "uploaded 12245 bytes in 3 chunks"
    percents = [int(line.removeprefix("converted ").removesuffix(" %")) for line in progress]
    assert percents == sorted(percents)
    assert (len(percents), percents[-1]) == (6, 100)
    assert given_up == "nothing is kept of an upload that is given up"
    assert {each.name for each in tmp_path.iterdir()} == {"stocks.csv", "stocks.tsv"}
    assert (tmp_path / "stocks.csv").read_bytes() == file.read_bytes()
    assert (tmp_path / "stocks.tsv").read_text() == file.read_text().replace(",", "\t")
    assert (process.returncode, out.splitlines(), err) == (0, [f"serving at {path}", "stopped"], "")


@pair
def test_chat(listener: str, connector: str, path: str) -> None:
    """Members of both languages; one leaves, and one is killed."""
    chat(listener, connector, path, path)


def chat(listener: str, connector: str, path: str, at: str) -> None:
    """Chat over the server at `path`, whose members connect to the path `at`."""
    other = "Python" if connector == "Rust" else "Rust"
    with ExitStack() as stack:

        def start(*program: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        def say(member: subprocess.Popen[str], line: str) -> None:
            assert member.stdin is not None
            member.stdin.write(f"{line}\n")

        def heard(line: str, *members: subprocess.Popen[str]) -> None:
            for member in members:
                assert member.stdout is not None
                assert member.stdout.readline() == f"{line}\n"

        server = start(*command(listener, "chat_server", path))
        heard(f"serving at {path}", server)
        ann = start(*command(connector, "chat_caller", at, "ann"))
        heard("ann: is here", ann)
        bob = start(*command(other, "chat_caller", at, "bob"))
        heard("bob: is here", ann, bob)
        cid = start(*command(connector, "chat_caller", at, "cid"))
        heard("cid: is here", ann, bob, cid)
        for number in range(100):
            say(ann, f"line {number}")
            heard(f"ann: line {number}", ann, bob, cid)
        cid.kill()
        heard("cid: has left", ann, bob)
        # Many lines at once: each side sends while it receives, so neither waits for the other one.
        assert bob.stdin is not None
        bob.stdin.write("bye\n" * 2000)
        bob.stdin.close()
        assert bob.wait(LIMIT) == 0
        assert ann.stdout is not None
        assert set(iter(ann.stdout.readline, "bob: has left\n")) <= {"bob: bye\n"}
        # A stop of the server ends the streams that are open.
        server.send_signal(signal.SIGINT)
        heard("stopped", server)
        assert server.wait(LIMIT) == 0
        assert ann.wait(LIMIT) != 0


@pair
def test_zero_copy(listener: str, connector: str, path: str) -> None:
    receiver, sender = run(
        command(listener, "zero_copy", "receive", path),
        command(connector, "zero_copy", "send", path, INPUT / "temperatures.f64"),
    )
    assert sender == ["sent 70072 bytes"]
    assert receiver == ["received 70072 bytes, type 2: 8759 hours, warmest 75.9"]


def demo(*args: object) -> subprocess.CompletedProcess[str]:
    line = command("Python", "demo", "--input", INPUT, *args)
    return subprocess.run(line, check=False, capture_output=True, text=True, timeout=2 * LIMIT)


def test_demo() -> None:
    done = demo("--calls", 50, "--binaries", BINARIES)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if "equal  " in line]
    assert [row[:5] for row in rows] == [
        [*pair]
        for pair in (
            ("Rust", "->", "Rust", "100", "equal"),
            ("Rust", "->", "Python", "100", "equal"),
            ("Python", "->", "Rust", "100", "equal"),
            ("Python", "->", "Python", "100", "equal"),
        )
    ]
    assert all(float(time) > 0 for row in rows for time in row[5:])


def stand_in(directory: Path, name: str, script: str) -> None:
    file = directory / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_demo_shows_why_a_child_failed(tmp_path: Path) -> None:
    stand_in(tmp_path, "rpc_callee", "echo the disk is on fire >&2; exit 3")
    stand_in(tmp_path, "demo_caller", "exec sleep 60")
    done = demo("--calls", 1, "--binaries", tmp_path)
    assert done.returncode == 1
    assert "exit status 3" in done.stderr
    assert "the disk is on fire" in done.stderr


def test_demo_ends_a_child_that_hangs(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    stand_in(tmp_path, "rpc_callee", f"echo $$ > {pid}; echo waiting >&2; exec sleep 60")
    stand_in(tmp_path, "demo_caller", "exec sleep 60")
    start = time.monotonic()
    done = demo("--calls", 1, "--binaries", tmp_path, "--limit", 1)
    assert time.monotonic() - start < LIMIT
    assert done.returncode == 1
    assert "not done after 1 s" in done.stderr
    assert "waiting" in done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_demo_refuses_wrong_results(tmp_path: Path) -> None:
    stand_in(tmp_path, "rpc_callee", "exit 0")
    report = {
        "stocks": [[0] * 32] * 5,
        "temperatures": [[0] * 40],
        "unknown": [2, 1],
        "small_ns": [1],
        "large_ns": [1],
    }
    stand_in(tmp_path, "demo_caller", f"echo '{json.dumps(report)}'")
    done = demo("--calls", 1, "--binaries", tmp_path)
    assert done.returncode == 1
    assert "AAPL: (25.94, 223.02, 7.07, 223.02) is right, the callee said (0.0, 0.0, 0.0, 0.0)" in done.stderr


def test_accounts(path: str) -> None:
    """A token and a trace travel through three processes of two languages, and a deadline ends the work of all."""
    ledger_path = f"{path}.ledger"
    programs = (
        command("Python", "ledger_service", ledger_path),
        command("Rust", "accounts_service", path, ledger_path),
    )
    with ExitStack() as stack:
        services = []
        for program in programs:
            service = stack.enter_context(subprocess.Popen(program, stdout=subprocess.PIPE, text=True))
            stack.callback(service.kill)
            assert service.stdout is not None
            assert service.stdout.readline().startswith("serving at")
            services.append(service)
        ((*printed,),) = run(command("Python", "accounts_caller", path))
        ledger, accounts = services
        accounts.send_signal(signal.SIGINT)
        spans, _ = accounts.communicate(timeout=LIMIT)
        ledger.send_signal(signal.SIGTERM)
        booked, _ = ledger.communicate(timeout=LIMIT)
        assert (accounts.returncode, ledger.returncode) == (0, 0)
    traces = [line.removeprefix("trace_id=") for line in printed if line.startswith("trace_id=")]
    assert [line for line in printed if not line.startswith("trace_id=")] == [
        "7500 cents left",
        "short: 2500 cents are missing",
        "no account 9",
        "PERMISSION_DENIED: account 2",
        "unauthenticated: send your token as `authorization`",
        "too slow: given up in all three processes",
    ]
    # The layer of the ledger sees the calls that pass the checks before it.
    assert [f"trace_id={trace}" in spans for trace in traces] == [True] * 6
    assert [f"trace_id={trace}" in booked for trace in traces] == [True, True, True, False, False, True]
    ended = {line.rpartition("trace_id=")[2]: line for line in booked.splitlines() if "trace_id=" in line}
    assert ended[traces[-1]].startswith("ledger book: "), "the deadline ended the call here too"
