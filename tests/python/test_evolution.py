"""Changes of a contract on one side: each row with two builds of a contract, in two processes."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest

import tachyon
from tachyon import LayoutMismatchError, RpcBus

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

OLD = """
class Scan(tachyon.Struct):
    taken_at: tachyon.u64
    frame: str

@tachyon_rpc(1)
def filtered(scan: Scan, radius: tachyon.f32) -> Scan:
    return scan

@tachyon_rpc(2)
def shown(scan: Scan) -> str:
    return repr(scan)

@tachyon_rpc(3)
def listed(scans: list[Scan]) -> list[Scan]:
    return scans
"""


def changed(old: str, new: str) -> str:
    assert old in OLD
    return OLD.replace(old, new)


SERVE = """
dispatcher = tachyon.RpcDispatcher()
for endpoint in (filtered, shown, listed):
    dispatcher.register(endpoint)
with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16) as bus:
    dispatcher.serve_forever(bus)
"""

GROWN = {
    "an option": changed("    frame: str\n", "    frame: str\n    note: str | None = None\n"),
    "an option with a value as its default": changed(
        "    frame: str\n", "    frame: str\n    note: str | None = 'new'\n"
    ),
    "a number with a default": changed("    frame: str\n", "    frame: str\n    gain: tachyon.f64 = 1.5\n"),
    "a list with a default": changed("    frame: str\n", "    frame: str\n    names: list[str] = ['x']\n"),
    "a Struct with a default": changed("    frame: str\n", "    frame: str\n    at: Point = Point(x=1.0)\n").replace(
        "class Scan", "class Point(tachyon.Struct):\n    x: tachyon.f32\n\nclass Scan", 1
    ),
    "several": changed(
        "    frame: str\n", "    frame: str\n    a: tachyon.u8 = 1\n    b: str | None = None\n    c: tachyon.u64 = 2\n"
    ),
    "an argument that is an option": changed("radius: tachyon.f32)", "radius: tachyon.f32, note: str | None = None)"),
    "an argument with a default": changed("radius: tachyon.f32)", "radius: tachyon.f32, gain: tachyon.f64 = 2.0)"),
}

REFUSED = {
    "a field without a default": (
        changed("    frame: str\n", "    frame: str\n    gain: tachyon.f64\n"),
        "`gain`",
    ),
    "an argument without a default": (
        changed("radius: tachyon.f32)", "radius: tachyon.f32, gain: tachyon.f64)"),
        "`gain`",
    ),
    "another type": (changed("radius: tachyon.f32", "radius: tachyon.f64"), "argument `radius` of filtered is"),
    "another name": (changed("radius: tachyon.f32", "size: tachyon.f32"), "`radius`"),
    "another order": (changed("scan: Scan, radius: tachyon.f32", "radius: tachyon.f32, scan: Scan"), "`scan`"),
    "one value for fields": (changed("scan: Scan, radius: tachyon.f32", "scan: Scan"), "filtered takes"),
    "a field in between": (
        changed("    frame: str\n", "    note: str | None = None\n    frame: str\n"),
        "field 2 of Scan is `",
    ),
    "a fixed size": (
        changed("    frame: str\n", "    frame: tachyon.u64\n"),
        "Scan",
    ),
}


def build(code: str) -> dict[str, Any]:
    """Make the endpoints of one build in this process."""
    space: dict[str, Any] = {"tachyon": tachyon, "tachyon_rpc": tachyon.tachyon_rpc, "__name__": "build"}
    exec(textwrap.dedent(code), space)
    return space


def served(peer: Callable[[str], Peer], code: str) -> Peer:
    return peer("import logging\nlogging.disable()\nfrom tachyon import tachyon_rpc\n" + code + SERVE)


@pytest.mark.parametrize("change", GROWN)
def test_an_older_caller_of_a_newer_callee(peer: Callable[[str], Peer], path: str, change: str) -> None:
    callee = served(peer, GROWN[change])
    old, new = build(OLD), build(GROWN[change])
    scan = old["Scan"](taken_at=1, frame="a")
    with RpcBus.connect(path) as bus:
        assert old["filtered"].call(bus, scan, 0.5) == scan
        # The callee fills fields that the caller does not know with their defaults.
        assert old["shown"].call(bus, scan) == repr(new["Scan"](taken_at=1, frame="a"))
        assert old["listed"].call(bus, [scan, scan]) == [scan, scan]
    callee.join()


@pytest.mark.parametrize("change", GROWN)
def test_a_newer_caller_of_an_older_callee(peer: Callable[[str], Peer], path: str, change: str) -> None:
    callee = served(peer, OLD)
    old, new = build(OLD), build(GROWN[change])
    scan = new["Scan"](taken_at=1, frame="a")
    with RpcBus.connect(path) as bus:
        # The callee drops fields that it does not know; the caller fills them with their defaults.
        assert new["filtered"].call(bus, scan, 0.5) == scan
        assert new["shown"].call(bus, scan) == repr(old["Scan"](taken_at=1, frame="a"))
        assert new["listed"].call(bus, [scan]) == [scan]
    callee.join()


@pytest.mark.parametrize("change", REFUSED)
@pytest.mark.parametrize("newer_serves", [False, True])
def test_other_changes_are_refused_before_a_call(
    peer: Callable[[str], Peer],
    path: str,
    change: str,
    newer_serves: bool,
) -> None:
    new, text = REFUSED[change]
    callee = served(peer, new if newer_serves else OLD)
    here = build(OLD if newer_serves else new)
    names = here["filtered"].__wrapped__.__annotations__
    values = {"scan": _scan(here["Scan"]), "radius": 0.5, "size": 0.5, "gain": 0.5}
    arguments = {name: values[name] for name in names if name != "return"}
    with RpcBus.connect(path) as bus, pytest.raises(LayoutMismatchError, match=text):
        here["filtered"].call(bus, **arguments)
    callee.join()


def _scan(cls: Any) -> Any:
    known = {"taken_at": 1, "gain": 0.5, "note": None}
    try:
        return cls(frame="a", **{name: known[name] for name in cls.__layout__.by_name if name in known})
    except TypeError:
        return cls(frame=1, taken_at=1)


def test_fixed_structs_do_not_grow(peer: Callable[[str], Peer], path: str) -> None:
    fixed = "class Scan(tachyon.Struct{}):\n    taken_at: tachyon.u64\n{}"
    rest = OLD[OLD.index("@tachyon_rpc(1)") :]
    plain = fixed.format("", "\n") + rest
    longer = fixed.format("", "    more: tachyon.u64 = 3\n\n") + rest
    callee = served(peer, longer)
    old = build(plain)
    with RpcBus.connect(path) as bus, pytest.raises(LayoutMismatchError, match="Scan"):
        old["shown"].call(bus, old["Scan"](taken_at=1))
    callee.join()


def test_extensible_structs_of_numbers_grow(peer: Callable[[str], Peer], path: str) -> None:
    fixed = "class Scan(tachyon.Struct, extensible=True):\n    taken_at: tachyon.u64\n{}"
    rest = OLD[OLD.index("@tachyon_rpc(1)") :]
    plain, longer = fixed.format("\n") + rest, fixed.format("    more: tachyon.u64 = 3\n\n") + rest
    callee = served(peer, longer)
    old = build(plain)
    with RpcBus.connect(path) as bus:
        assert old["shown"].call(bus, old["Scan"](taken_at=1)) == "Scan(taken_at=1, more=3)"
    callee.join()


BUSY = """
class Busy(tachyon.EndpointError, text="busy"):
    {body}

@tachyon_rpc(1, raises=(Busy,))
def start(number: tachyon.u32) -> tachyon.u32:
    raise Busy()
"""
SERVE_BUSY = """
with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16) as bus:
    tachyon.RpcDispatcher().register(start).serve_forever(bus)
"""


@pytest.mark.parametrize("newer_serves", [False, True])
def test_an_error_gains_an_option(peer: Callable[[str], Peer], path: str, newer_serves: bool) -> None:
    old, new = BUSY.format(body="pass"), BUSY.format(body="until: tachyon.u32 | None = None")
    served_code, called_code = (new, old) if newer_serves else (old, new)
    callee = peer("from tachyon import tachyon_rpc\nimport tachyon\n" + served_code + SERVE_BUSY)
    here = build(called_code)
    with RpcBus.connect(path) as bus:
        with pytest.raises(here["Busy"]) as caught:
            here["start"].call(bus, 1)
        assert getattr(caught.value, "until", None) is None
    callee.join()
