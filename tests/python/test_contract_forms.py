"""Every form of requests and replies, between two processes, as both sides see them."""

from __future__ import annotations

import pickle
import resource
import struct
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

import tachyon
from services.scans import Point, Scan, Side, Tag
from tachyon import Array, ErrorKind, LayoutMismatchError, RpcBus, RpcError, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Peer


def endpoint(msg_type: int, takes: dict[str, Any], gives: Any) -> Any:
    """Make an endpoint from its hints."""
    names = ", ".join(takes)
    namespace: dict[str, Any] = {}
    exec(f"def called({names}): ...", namespace)
    function = namespace["called"]
    function.__annotations__ = takes | {"return": gives}
    function.__name__ = NAMES[msg_type]
    return tachyon_rpc(msg_type)(function)


NAMES = dict(
    enumerate(
        [
            *("back", "text", "texts", "lists", "scans", "maybe", "points", "look", "remember", "keeps_arrays"),
            *("side_of", "half", "none", "bad_text", "bad_list"),
        ],
        start=1,
    )
)


def scan(**changes: Any) -> Any:
    full = {
        "taken_at": 7,
        "frame": "aé",
        "points": [Point(x=1.0, y=2.0), Point(x=3.0, y=4.0)],
        "note": "seen",
        "live": False,
        "flags": [True, False, True],
        "data": b"\0\1",
        "numbers": np.arange(3.0),
        "tags": [Tag(name="t", side=Side.SELL)],
        "names": ["", "b"],
        "best": Tag(name="best", side=Side.BUY),
        "gain": 0.5,
        "origin": Point(x=5.0, y=6.0),
        "four": [9, 8, 7, 6],
    }
    return Scan(**full | changes)


@pytest.fixture
def bus(service: Callable[..., Peer], path: str) -> Iterator[RpcBus]:
    child = service("scans", "bus", rings=(1 << 20, 1 << 20), quiet=True)
    with RpcBus.connect(path) as connected:
        yield connected
    child.join()


def test_a_variable_struct_there_and_back(bus: RpcBus) -> None:
    back = endpoint(1, {"scan": Scan}, Scan)
    for each in (
        scan(),
        scan(note=None, best=None, gain=None, names=[], points=[], frame=""),
        Scan(taken_at=1, frame="x", points=[]),
    ):
        found = back.call(bus, each)
        assert found == each
        assert bytes(found) == bytes(each)
    found = back.call(bus, scan=scan())
    # The caller owns its replies.
    found.points[0].x = 9.0
    found.numbers[0] = 4.5
    found.tags.append(Tag(name="new", side=Side.BUY))
    assert (found.points[0].x, found.numbers[0], len(found.tags)) == (9.0, 4.5, 2)
    assert back.call(bus, found) == found


def test_every_form_there_and_back(bus: RpcBus) -> None:
    assert endpoint(2, {"value": str}, str).call(bus, "abé") == "éba"
    assert endpoint(2, {"value": str}, str).call(bus, "") == ""
    assert endpoint(3, {"values": list[str]}, list[str]).call(bus, ["b", "", "aé"]) == ["", "aé", "b"]
    assert endpoint(3, {"values": list[str]}, list[str]).call(bus, []) == []
    lists = endpoint(4, {"values": list[list[tachyon.u16]]}, list[list[tachyon.u16]])
    assert lists.call(bus, [[1], [], (2, 3)]) == [[2, 3], [], [1]]
    two = [scan(), scan(note=None)]
    assert endpoint(5, {"values": list[Scan]}, list[Scan]).call(bus, two) == two
    maybe = endpoint(6, {"value": str | None}, str | None)
    assert (maybe.call(bus, "a"), maybe.call(bus, None), maybe.call(bus, value=None)) == ("a!", None, None)
    points = endpoint(7, {"values": list[Point]}, list[Point])
    assert points.call(bus, [Point(x=1.0, y=0.0)]) == [Point(x=2.0, y=0.0)]
    side_of = endpoint(11, {"value": Side | None}, Side | None)
    assert (side_of.call(bus, Side.SELL), side_of.call(bus, None)) == (Side.SELL, None)
    half = endpoint(12, {"value": tachyon.f64 | None}, tachyon.f64 | None)
    assert (half.call(bus, 3), half.call(bus, None)) == (1.5, None)
    assert endpoint(13, {"value": tachyon.u8}, None).call(bus, 1) is None


LOOK = {"scan": Scan, "keep": tachyon.bool, "text": str, "more": npt.NDArray[np.int32], "raw": memoryview}


def test_views_and_copies_in_a_handler(bus: RpcBus) -> None:
    look = endpoint(8, LOOK, list[str])
    said = look.call(bus, scan(), keep=True, text="x", more=[1, 2], raw=b"raw")
    assert said[:8] == [
        "Array",
        "False",
        "bytes",
        "memoryview",
        "True",
        "False",
        "True",
        "Point",
    ]
    assert "is a view of a request, which is read-only" in said[8]
    assert said[9:] == ["[1, 2]", "raw"]
    said = endpoint(9, {}, list[str]).call(bus)
    assert said[0] == "changed"
    assert said[1] == "<Scan, a view of a request that is over>"
    assert said[2:5] == ["[Point(x=1.0, y=2.0), Point(x=3.0, y=4.0)]", "[0.0, 1.0, 2.0]", "[True, False, True]"]
    assert said[5:] == ["ReleasedError"] * 3


def test_an_array_that_is_kept_fails_its_call(bus: RpcBus) -> None:
    with pytest.raises(RpcError, match="the handler kept a view of the request"):
        endpoint(10, {"scan": Scan}, None).call(bus, scan())


def test_replies_that_contradict_their_hint(bus: RpcBus) -> None:
    with pytest.raises(RpcError, match="bad_text: the reply has half of a surrogate pair") as raised:
        endpoint(14, {}, str).call(bus)
    assert raised.value.kind is ErrorKind.BAD_REPLY
    with pytest.raises(RpcError, match=r"bad_list: the reply\[1\] must be text, not int"):
        endpoint(15, {}, list[str]).call(bus)


def test_other_meanings_are_found_before_the_first_call(bus: RpcBus) -> None:
    for hint, value in ((tachyon.u8, 1), (list[str], ["a"]), (str | None, "a")):
        with pytest.raises(LayoutMismatchError):
            endpoint(2, {"value": hint}, str).call(bus, value)
    other = type(tachyon.Struct)(
        "Scan",
        (tachyon.Struct,),
        {"__annotations__": {"taken_at": tachyon.u64, "frame": bytes}, "__module__": __name__},
    )
    with pytest.raises(LayoutMismatchError, match="frame"):
        endpoint(1, {"scan": other}, other).call(bus, other(taken_at=1, frame=b""))
    with pytest.raises(LayoutMismatchError, match="text"):
        takes = LOOK | {"text": tachyon.u64}
        endpoint(8, takes, list[str]).call(bus, scan(), keep=True, text=1, more=[], raw=b"")


def refused(bus: RpcBus, payload: bytes, msg_type: int = 1) -> str:
    """Send bytes as they are, and return the error text of the callee."""
    with bus.wait(bus.call(payload, msg_type), timeout=10) as reply:
        assert reply.error_kind is ErrorKind.BAD_REQUEST
        data = bytes(reply)
    name_len, text_len = struct.unpack_from("<HI", data, 2)
    assert name_len == 0
    return data[8 : 8 + text_len].decode()


def changed(at: int, data: bytes) -> bytes:
    whole = bytearray(bytes(scan()))
    whole[at : at + len(data)] = data
    return bytes(whole)


def test_bad_bytes_never_reach_a_handler(bus: RpcBus) -> None:
    whole = bytes(scan())
    length, offsets = Scan.__layout__.plan.offsets()
    at = dict(zip(Scan.__layout__.by_name, offsets, strict=True))
    pairs = {name: struct.unpack_from("<II", whole, at[name]) for name in ("frame", "points", "note", "tags", "flags")}
    word = struct.Struct("<I").pack
    found = len(whole)
    assert refused(bus, b"") == "the head of Scan gives its length as 0 bytes, and 0 came"
    assert refused(bus, changed(0, word(3))) == f"the head of Scan gives its length as 3 bytes, and {found} came"
    assert "gives its length as 4294967295 bytes" in refused(bus, changed(0, word(0xFFFFFFFF)))
    assert (
        refused(bus, changed(0, word(at["note"] + 4)))
        == "Scan.note is cut: the head ends inside of it; declare the same fields on both sides"
    )
    assert refused(bus, changed(0, word(at["points"]))).startswith("Scan.points is missing")
    for bad in (1, pairs["frame"][0] + 4, 0xFFFFFFF8, 8):
        expected = f"Scan.frame points to 3 bytes at offset {bad} of {found}, and there is no part"
        assert refused(bus, changed(at["frame"], word(bad))) == expected
    assert "Scan.frame points to 4294967295 bytes" in refused(bus, changed(at["frame"] + 4, word(0xFFFFFFFF)))
    # Two fields name the same bytes.
    assert refused(bus, changed(at["points"], word(pairs["frame"][0]))).startswith("Scan.points points to 16 bytes")
    assert refused(bus, changed(at["points"] + 4, word(7))) == (
        "Scan.points: 7 bytes came, which is no multiple of the 8 bytes of Point"
    )
    assert refused(bus, changed(pairs["frame"][0] + 1, b"\xff")) == "Scan.frame is no UTF-8 from byte 1 on"
    assert refused(bus, changed(at["live"], b"\2")) == "Scan.live: bool is 2, and bool has no such value"
    assert refused(bus, changed(pairs["flags"][0] + 2, b"\7")) == "Scan.flags: bool is 7, and bool has no such value"
    tags = pairs["tags"][0]
    assert "Scan.tags gives its length as 4294967295 values" in refused(bus, changed(tags, word(0xFFFFFFFF)))
    assert "Scan.tags points to" in refused(bus, changed(tags + 8, word(8)))
    side = whole.index(b"t\0\0", tags) - 8
    assert refused(bus, changed(tags + 16 + 12, b"\5")) == "Tag.side: Side is 5, and Side has no such value"
    assert side > tags
    assert refused(bus, b"\xff", 2) == "the request is no UTF-8 from byte 0 on"
    assert refused(bus, b"\1", 3) == "the request gives its length as 0 values, and has 1 bytes"
    assert refused(bus, bytes(8), 6).startswith("the head of maybe gives its length as 0 bytes")
    assert length <= 256
    # The callee goes on.
    assert endpoint(2, {"value": str}, str).call(bus, "ab") == "ba"


def test_absurd_lengths_allocate_nothing() -> None:
    heads = [struct.pack("<IIII", 16, 0, 16, 0xFFFFFFF0), struct.pack("<II", 0x1FFFFFFF, 0) + bytes(32)]

    class Texts(tachyon.Struct):
        values: list[str]

    class Numbers(tachyon.Struct):
        values: list[tachyon.u8]

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for made in (Texts, Numbers):
        for data in [*heads, struct.pack("<III", 12, 16, 12) + bytes(4) + struct.pack("<II", 0xFFFFFFFF, 0) + bytes(4)]:
            if made is Numbers and data is not heads[0]:
                continue
            with pytest.raises(tachyon.BadRequestError):
                made.from_bytes(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 16


def test_a_variable_struct_behaves_like_a_fixed_one() -> None:
    one = scan()
    assert one == scan()
    assert one != scan(numbers=np.zeros(3))
    assert one != scan(numbers=np.zeros(2))
    assert one != scan(names=["", "c"])
    assert one != 7
    assert Scan.from_bytes(bytes(one)) == one
    assert pickle.loads(pickle.dumps(Tag(name="x", side=Side.BUY), 5)) == Tag(name="x", side=Side.BUY)
    assert repr(Tag(name="x", side=Side.BUY)) == "Tag(name='x', side=<Side.BUY: 1>)"
    copy = one.copy()
    copy.tags[0].name = "other"
    copy.names.append("z")
    assert (one.tags[0].name, one.names) == ("t", ["", "b"])
    assert one.replace(frame="y").frame == "y"
    with pytest.raises(TypeError, match="Scan has no field `frme`"):
        one.replace(frme="y")
    with pytest.raises(TypeError, match="Scan needs a value for `frame`, `points`"):
        Scan(taken_at=1)
    with pytest.raises(TypeError):
        memoryview(one)
    with pytest.raises(AttributeError, match="Scan has no dtype, since it has no fixed size"):
        one.dtype  # noqa: B018
    with pytest.raises(TypeError):
        hash(one)
    with pytest.raises(TypeError, match="is a part of every Scan"):
        del one.frame
    match Tag(name="x", side=Side.BUY):
        case Tag(name, side):
            assert (name, side) == ("x", Side.BUY)
    # Each Struct has its own copy of a mutable default.
    first, second = (Scan(taken_at=1, frame="", points=[]) for _ in range(2))
    first.names.append("x")
    first.origin.x = 3.0
    first.four[0] = 0
    assert (second.names, second.origin.x, second.four[0]) == ([], 0.0, 1)


def test_a_struct_has_values_of_its_own() -> None:
    point = Point(x=1.0, y=2.0)
    names = ["a"]
    made = scan(origin=point, names=names, points=[point])
    point.x, names[0] = 9.0, "b"
    assert (made.origin.x, made.names, made.points[0].x) == (1.0, ["a"], 1.0)
    # A Struct holds variable Structs and numpy arrays without a copy.
    tag, numbers = Tag(name="x", side=Side.BUY), np.arange(2.0)
    made = scan(best=tag, numbers=numbers)
    assert made.best is tag
    assert made.numbers is numbers


def test_structs_that_are_refused() -> None:
    with pytest.raises(TypeError, match="field `inner` of Node: a Struct cannot contain itself"):

        class Node(tachyon.Struct):
            inner: Node | None = None  # type: ignore[name-defined]

    def nested(depth: int) -> Any:
        hint: Any = str
        for _ in range(depth):
            hint = list[hint]
        return type(tachyon.Struct)("Deep", (tachyon.Struct,), {"__annotations__": {"a": hint}, "__module__": __name__})

    nested(14)
    with pytest.raises(TypeError, match="types nest at most 16 deep"):
        nested(15)
    with pytest.raises(TypeError, match="have more than 4096 bytes beside others"):

        class Wide(tachyon.Struct):
            data: Annotated[bytes, 4096]
            text: str

    with pytest.raises(OverflowError, match=r"Bad\.size is u8"):

        class Bad(tachyon.Struct):
            name: str
            size: tachyon.u8 = 256


@pytest.mark.parametrize(
    ("hint", "refused"),
    [
        (np.ndarray[tuple[int, int], np.dtype[np.bool_]], "numbers: write numpy.uint8"),
        (np.ndarray[tuple[int, int], np.dtype[np.float16]], "an array says what it is an array of"),
        (np.ndarray[tuple[int, int], np.dtype[np.floating[Any]]], "an array says what it is an array of"),
        (np.ndarray[tuple[int, int, int, int, int, int, int, int, int], np.dtype[np.uint8]], "and this hint has 9"),
        (np.ndarray[tuple[Literal[3], int], np.dtype[np.uint8]], "each dimension of a tensor is `int`"),
        (np.ndarray[tuple[Any, Any], np.dtype[np.uint8]], "each dimension of a tensor is `int`"),
        (Annotated[np.ndarray[tuple[int, int], np.dtype[np.void]], Point], "numbers, and Point is none"),
    ],
)
def test_hints_that_are_no_tensor(hint: Any, refused: str) -> None:
    with pytest.raises(TypeError, match=f"field `pixels` of Image: .*{refused}"):
        type(tachyon.Struct)("Image", (tachyon.Struct,), {"__annotations__": {"pixels": hint}, "__module__": __name__})


def test_a_tensor_lies_as_the_wire_format_says() -> None:
    class Image(tachyon.Struct):
        pixels: np.ndarray[tuple[int, int], np.dtype[np.uint16]]

    made = Image(pixels=np.array([[1], [2]], np.uint16))
    expected = (
        "0c000000 10000000 1c000000 00000000 0200000000000000 0200000000000000 0100000000000000 01000200 00000000"
    )
    assert bytes(made) == bytes.fromhex(expected)
    received = Image.from_bytes(bytes(made))
    assert received == made
    assert made.copy().pixels is not made.pixels
    assert (received.pixels.dtype, received.pixels.shape, received.pixels.flags.writeable) == (np.uint16, (2, 1), True)
    assert repr(received) == repr(made)
    assert made != Image(pixels=np.array([[1, 2]], np.uint16))


def test_a_payload_lies_as_the_wire_format_says() -> None:
    class Plain(tachyon.Struct):
        taken_at: tachyon.u64
        frame: str
        points: Array[Point]
        note: str | None = None

    expected = "28000000 00000000 0700000000000000 2800000002000000 3000000000000000 0000000000000000 6162000000000000"
    assert bytes(Plain(taken_at=7, frame="ab", points=[])) == bytes.fromhex(expected)


def test_extensible_structs_have_a_head() -> None:
    class Plain(tachyon.Struct, extensible=True):
        number: tachyon.u16

    assert bytes(Plain(number=3)) == bytes.fromhex("0600000003000000")
    assert Plain.from_bytes(bytes(Plain(number=3))).number == 3
