"""`tachyon call`: every form of values as JSON, and the errors of wrong JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from programs import tachyon_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

SCAN = {"frame": "a", "points": [{"x": 1.0, "y": 2.0}], "data": "00ff", "side": "SELL", "names": ["n"]}


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        (
            "filtered",
            {"scan": SCAN, "radius": 0.5, "tags": [1, 2], "note": "x"},
            SCAN | {"frame": "a 0.5 [1, 2] x"},
        ),
        (
            "filtered",
            {"scan": {"frame": "b", "points": [], "data": "", "names": []}, "radius": 1, "tags": []},
            {"frame": "b 1.0 [] None", "points": [], "data": "", "side": None, "names": []},
        ),
        ("text", "abé", "éba"),
        ("maybe", "x", ["x", "x"]),
        ("maybe", None, None),
        ("one", SCAN, [SCAN]),
    ],
)
def test_forms_there_and_back(
    service: Callable[..., Peer], path: str, name: str, given: object, expected: object
) -> None:
    child = service("json_forms", "bus", quiet=True)
    done = tachyon_command("call", path, name, json.dumps(given))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected
    child.join()


@pytest.mark.parametrize(
    ("name", "given", "complaint"),
    [
        ("filtered", {"radius": 0.5, "tags": []}, "is an object of scan, radius, tags, note, and `scan` is missing"),
        ("filtered", {"scan": SCAN, "radius": 0.5, "tags": [], "x": 1}, "and has no `x`"),
        ("filtered", [1], "the request must be an object, not list"),
        ("filtered", {"scan": SCAN, "radius": "1", "tags": []}, "radius must be a number (f32), not str"),
        ("filtered", {"scan": SCAN, "radius": 1, "tags": [-1]}, "tags[0] is u32, from 0 to 4294967295"),
        ("one", SCAN | {"data": "xyz"}, "the request.data is bytes, two hexadecimal digits each"),
        ("one", SCAN | {"side": "HOLD"}, "the request.side must be one of BUY, SELL, not 'HOLD'"),
        ("one", SCAN | {"points": [{"x": 1.0}]}, "the request.points[0] is an object of x, y, and `y` is missing"),
        ("text", 7, "the request must be text, not int"),
        ("read", 3, "read: HANDLER_FAILED NoSensor: no sensor 3"),
    ],
)
def test_a_wrong_request_is_an_error_in_one_line(
    service: Callable[..., Peer], path: str, name: str, given: object, complaint: str
) -> None:
    child = service("json_forms", "bus", quiet=True)
    done = tachyon_command("call", path, name, json.dumps(given))
    assert done.returncode == 1
    # The first line says that the callee has one caller.
    _, message = done.stderr.splitlines()
    assert complaint in message
    assert message.startswith("tachyon: ")
    child.join()
