"""The web application of the examples under uvicorn, with its service in Rust."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from test_examples import LIMIT, ROOT, SCRIPTS, command

if TYPE_CHECKING:
    from collections.abc import Iterator


class Connection(http.client.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=LIMIT)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT)
        self.sock.connect(self.path)


class Application:
    """The application, as its clients see it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def get(self, url: str) -> tuple[int, dict[str, Any], str | None]:
        """Return status, body and `Retry-After`."""
        connection = Connection(self.path)
        try:
            connection.request("GET", url)
            response = connection.getresponse()
            return response.status, json.loads(response.read()), response.getheader("Retry-After")
        finally:
            connection.close()


@contextmanager
def started(line: list[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def serving(path: str) -> Iterator[subprocess.Popen[str]]:
    with started(command("Rust", "quote_service", path)) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == f"serving at {path}\n"
        yield service


@pytest.fixture
def app(path: str) -> Iterator[Application]:
    """The application under uvicorn; its service does not run yet."""
    web = path + ".http"
    line = [sys.executable, "-W", "error", "-m", "uvicorn", "--app-dir", str(SCRIPTS), "--uds", web, "web_app:app"]
    with started(line, QUOTES=path) as uvicorn:
        deadline = time.monotonic() + LIMIT
        while not Path(web).exists():
            assert uvicorn.poll() is None, uvicorn.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield Application(web)
        uvicorn.send_signal(signal.SIGTERM)
        _, log = uvicorn.communicate(timeout=LIMIT)
    assert "Application shutdown complete" in log
    assert "Traceback" not in log
    assert "Task was destroyed" not in log


def test_the_page_shows_the_application() -> None:
    page = (ROOT / "docs/guide/web.md").read_text(encoding="utf-8")
    program = (SCRIPTS / "web_app.py").read_text(encoding="utf-8")
    # The example has a text of documentation in the function.
    program = re.sub(r'\n +"""[^"]*"""', "", program)
    shown = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(shown) == 2
    for block in shown:
        assert block.strip() in program


def test_calls_and_their_errors(app: Application, path: str) -> None:
    with serving(path) as service:
        assert app.get("/quotes/ACME?quantity=10") == (
            200,
            {"symbol": "ACME", "quantity": 10, "cents": 123_500},
            None,
        )
        assert app.get("/forecasts/GLOBEX?days=2") == (200, {"cents": 1_008}, None)
        assert app.get("/quotes/NOPE") == (404, {"error": "no share has the symbol NOPE"}, None)
        assert app.get("/quotes/ACME?quantity=0")[:2] == (422, {"error": "a quote is of one share at least"})
        for quantity in ("ten", "-1", str(1 << 32)):
            status, body, _ = app.get(f"/quotes/ACME?quantity={quantity}")
            assert status == 422
            assert "quantity" in body["error"] or quantity in body["error"]
        service.send_signal(signal.SIGTERM)
        out, err = service.communicate(timeout=LIMIT)
        assert (service.returncode, out, err) == (0, "stopped\n", "")


def test_a_call_that_takes_too_long_is_given_up(app: Application, path: str) -> None:
    with serving(path) as service:
        status, body, _ = app.get("/forecasts/ACME?days=6000")
        assert (status, "timed out" in body["error"]) == (504, True)
        assert service.stdout is not None
        # The service ended the work, too.
        assert service.stdout.readline() == "gave up a forecast\n"
        assert app.get("/quotes/ACME")[0] == 200


def test_requests_run_side_by_side(app: Application, path: str) -> None:
    with serving(path), ThreadPoolExecutor(12) as clients:
        slow = [clients.submit(app.get, "/forecasts/ACME?days=100") for _ in range(3)]
        quick = [clients.submit(app.get, "/quotes/ACME") for _ in range(50)]
        assert {future.result()[0] for future in quick} == {200}
        # The forecasts take a second, and are still at work.
        assert not any(future.done() for future in slow)
        # A busy machine may make them too long.
        assert {future.result()[0] for future in slow} <= {200, 504}


def test_a_service_that_comes_and_goes(app: Application, path: str) -> None:
    status, body, again = app.get("/quotes/ACME")
    assert (status, again) == (503, "1")
    assert "no listener" in body["error"]
    for _ in range(2):
        with serving(path) as service:
            assert app.get("/quotes/ACME")[0] == 200
            service.kill()
            service.wait(LIMIT)
            assert app.get("/quotes/ACME")[0] == 503
