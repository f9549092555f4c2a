"""Callers and callees of both languages through a link: `tachyon-link connect` and `serve`, with TLS over loopback."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

import tachyon
from contract import WORDS, rust, served
from linked import LIMIT
from programs import tachyon as tachyon_command
from services import counted_api as counted
from tachyon import errors
from test_examples import BINARIES, INPUT, PAIRS, command, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from conftest import Peer
    from linked import Link

pair = pytest.mark.parametrize(("callee", "caller"), PAIRS, ids=lambda language: language)


@pytest.fixture
def serve() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts a server, and waits until it serves."""
    with ExitStack() as stack:

        def start(program: Sequence[str]) -> subprocess.Popen[str]:
            process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline().startswith("serving at")
            return process

        yield start


def end(process: subprocess.Popen[str]) -> list[str]:
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0
    return out.splitlines()


@pytest.fixture
def counting(service: Callable[..., Peer], link: Link) -> Peer:
    """The callee `counted`, with a link to it that is connected."""
    callee = service("counted", "loop", str(link.folder / "notes"), at=link.back, quiet=True)
    link.start()
    return callee


@pair
def test_calls_and_streams_of_all_kinds(callee: str, caller: str, link: Link) -> None:
    """The example of routes: declared errors, and a stream of each kind."""
    with subprocess.Popen(command(callee, "route_service", link.back)) as process:
        try:
            _, far = link.start()
            (lines,) = run(command(caller, "route_caller", link.front))
            far.stop()
            # The far end was the one caller of this service.
            assert process.wait(LIMIT) == 0
        finally:
            process.kill()
    assert lines[:2] == ["at the trail: Berkshire Valley Management Area Trail, Jefferson", "no feature at (0, 0)"]
    assert lines[6:] == [
        "5 points with 4 features, 112.6 km",
        "an earlier note at the trail: first",
        "an earlier note at the trail: first",
        "an earlier note at the trail: third",
    ]


def test_an_upload(serve: Callable[..., subprocess.Popen[str]], link: Link, tmp_path: Path) -> None:
    """An upload, the progress of a conversion, and an upload that is given up."""
    server = serve(command("Rust", "upload_service", link.back, tmp_path))
    link.start()
    file = INPUT / "stocks.csv"
    (lines,) = run(command("Python", "upload_caller", link.front, file))
    assert end(server) == ["stopped"]
    assert (lines[0], lines[-1]) == (
        "uploaded 12245 bytes in 3 chunks",
        "nothing is kept of an upload that is given up",
    )
    assert {each.name for each in tmp_path.iterdir()} >= {"stocks.csv", "stocks.tsv"}
    assert (tmp_path / "stocks.csv").read_bytes() == file.read_bytes()


@pair
def test_streams_between_callers(
    callee: str, caller: str, serve: Callable[..., subprocess.Popen[str]], link: Link
) -> None:
    """The example of chats: two callers of one link, of both languages."""
    serve(command(callee, "chat_server", link.back))
    link.start()
    with ExitStack() as stack:

        def join(language: str, name: str) -> subprocess.Popen[str]:
            line = command(language, "chat_caller", link.front, name)
            process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        def heard(line: str, *members: subprocess.Popen[str]) -> None:
            for member in members:
                assert member.stdout is not None
                assert member.stdout.readline() == f"{line}\n"

        ann = join(caller, "ann")
        heard("ann: is here", ann)
        bob = join("Python" if caller == "Rust" else "Rust", "bob")
        heard("bob: is here", ann, bob)
        assert ann.stdin is not None
        for number in range(100):
            ann.stdin.write(f"line {number}\n")
            heard(f"ann: line {number}", ann, bob)
        bob.kill()
        heard("bob: has left", ann)
        ann.stdin.close()
        assert ann.wait(LIMIT) == 0


def test_tensors_of_four_callers(serve: Callable[..., subprocess.Popen[str]], link: Link) -> None:
    server = serve(command("Python", "model_server", link.back))
    link.start("--ring-sizes", 1 << 20, 1 << 20)
    for lines in run(*(command(caller, "model_caller", link.front) for caller in ("Rust", "Python") * 2)):
        assert lines == [
            "image 0: horizontal, score 9.7",
            "image 1: vertical, score 9.7",
            "image 2: falling, score 9.7",
            "image 3: rising, score 9.7",
            "4 images of half the size, 4 scores each",
            "an image has 2 x 64 pixels, and the model needs 3 x 3",
        ]
    assert end(server) == ["stopped"]


def test_a_caller_and_a_server_on_tokio(serve: Callable[..., subprocess.Popen[str]], link: Link) -> None:
    """A call that is given up is cancelled at the callee."""
    server = serve(command("Rust", "tokio_server", link.back))
    link.start()
    (lines,) = run(command("Rust", "tokio_caller", link.front))
    assert lines[1:] == ["ponder: too slow, given up", "12 squared is 144"]
    out, _ = server.communicate(timeout=LIMIT)
    assert (server.returncode, out) == (0, "pondered 1 times, 1 of them cancelled\n")


def test_a_caller_and_a_server_on_asyncio(serve: Callable[..., subprocess.Popen[str]], link: Link) -> None:
    server = serve(command("Python", "asyncio_server", "serve", link.back))
    link.start()
    (lines,) = run(command("Python", "asyncio_server", "call", link.front))
    assert lines[:2] == ["3 cities", "30 answers, together"]
    assert end(server) == ["stopped"]


def test_metadata_and_deadlines_through_two_services(serve: Callable[..., subprocess.Popen[str]], link: Link) -> None:
    """A link between two services: tokens and traces travel, and a deadline ends the work behind the link."""
    ledger = serve(command("Python", "ledger_service", link.back))
    link.start()
    path = str(link.folder / "accounts.sock")
    accounts = serve(command("Rust", "accounts_service", path, link.front))
    ((*printed,),) = run(command("Python", "accounts_caller", path))
    end(accounts)
    ledger.terminate()
    booked, _ = ledger.communicate(timeout=LIMIT)
    traces = [line.removeprefix("trace_id=") for line in printed if line.startswith("trace_id=")]
    assert [line for line in printed if not line.startswith("trace_id=")] == [
        "7500 cents left",
        "short: 2500 cents are missing",
        "no account 9",
        "PERMISSION_DENIED: account 2",
        "unauthenticated: send your token as `authorization`",
        "too slow: given up in all three processes",
    ]
    assert [f"trace_id={trace}" in booked for trace in traces] == [True, True, True, False, False, True]
    ended = {line.rpartition("trace_id=")[2]: line for line in booked.splitlines() if "trace_id=" in line}
    assert ended[traces[-1]].startswith("ledger book: ")


@pytest.mark.parametrize("scene", ["call_many", "call_many_async", "call_tensors"])
def test_every_form_of_values(language: str, scene: str, link: Link) -> None:
    """Rust calls the contract of every form, of callees in both languages."""
    with served(language, "many", link.back, 1 << 16):
        near, far = link.start()
        rust(scene, link.front, *(WORDS[language] if scene.startswith("call_many") else ()))
        near.stop()
        far.stop()


@pytest.mark.usefixtures("counting")
def test_two_links_in_a_row(link: Link) -> None:
    """Each far end says where a call came from; the callee sees the last one, and callers cannot forge it."""
    link.far(back=link.front)
    path = str(link.folder / "first.sock")
    link.near(front=path)
    link.wait(path)
    (link.folder / "notes.go").touch()
    with tachyon.RpcBus.connect(path) as bus:
        assert counted.echo.call(bus, b"x" * 50_000) == b"x" * 50_000
        assert counted.origin.call(bus.metadata("link.origin", "me"), b"") == "host-a"
        assert [len(item) for item in counted.items.stream(bus, "stream", 3, 1000)] == [1004] * 3
        with pytest.raises(errors.NoHandlerError):
            tachyon.tachyon_rpc(99)(len).call(bus, b"")
    assert tachyon_command("describe", path) == tachyon_command("describe", link.back)


@pytest.mark.usefixtures("counting")
def test_asyncio_and_blocking_callers_at_once(link: Link) -> None:
    """Calls of one loop overtake a held call, of another caller as well."""

    async def call() -> None:
        async with tachyon.RpcBus.aconnect(link.front) as first, tachyon.RpcBus.aconnect(link.front) as second:
            held = asyncio.create_task(counted.hold.acall(first, "held"))
            payloads = [bytes([number]) * number * 10 for number in range(200)]
            callers = (first, second)
            calls = [counted.echo.acall(callers[at % 2], payload) for at, payload in enumerate(payloads)]
            assert await asyncio.gather(*calls) == payloads
            with tachyon.RpcBus.connect(link.front) as third:
                assert counted.echo.call(third, b"blocking") == b"blocking"
            assert not held.done()
            with pytest.raises(TimeoutError):
                await counted.hold.acall(second, "late", timeout=0.2)
            (link.folder / "notes.go").touch()
            assert await held == "held"

    asyncio.run(call())
    notes = (link.folder / "notes").read_text().splitlines()
    assert sorted(notes) == ["begun held", "begun late", "cancelled late", "ended held"]


@pytest.mark.usefixtures("counting")
def test_the_commands_work_at_the_near_socket(link: Link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tachyon_command("describe", link.front) == tachyon_command("describe", link.back)
    assert json.loads(tachyon_command("call", link.front, "run", '"token"')) == "token"
    assert float(tachyon_command("ping", link.front).split()[0]) > 0
    # A near end that lists itself in the folder of this test.
    monkeypatch.setenv("TACHYON_RUNTIME_DIR", str(tmp_path))
    path = str(link.folder / "listed.sock")
    near = link.near(front=path)
    link.wait(path)
    with tachyon.RpcBus.connect(path) as bus:
        for _ in range(50):
            counted.echo.call(bus, b"x")
        (entry,) = json.loads(tachyon_command("ps", "--json"))
        assert (entry["path"], entry["pid"]) == (path, near.process.pid)
        look: dict[str, Any] = json.loads(tachyon_command("top", path, "--once", "--json", "--interval", "0.1"))
        assert look["callers_now"] == 1
        assert look["calls"] >= 50
        assert look["callers"][0]["requests"] >= 50
    near.stop()
    assert json.loads(tachyon_command("ps", "--json")) == []


@pytest.mark.usefixtures("counting")
def test_another_contract_is_refused_with_the_same_sentence(link: Link) -> None:
    @tachyon.tachyon_rpc(1)
    def hold(token: tachyon.u32) -> tachyon.u64:
        raise NotImplementedError

    sentences = []
    for path in (link.back, link.front):
        with tachyon.RpcBus.connect(path) as bus, pytest.raises(errors.LayoutMismatchError) as refused:
            hold.call(bus, 7)
        sentences.append(str(refused.value).replace(path, "PATH"))
    assert sentences[0] == sentences[1]
    assert sentences[0].startswith("hold: the request is u32 here, str at the callee")
    assert not (link.folder / "notes").exists(), "no handler has run"


def test_the_demo() -> None:
    """The four pairs of the demo, with a link between the two processes of each."""
    line = command("Python", "demo_link", "--calls", 20, "--binaries", BINARIES, "--input", INPUT)
    done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=2 * LIMIT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("right, ") == 4
