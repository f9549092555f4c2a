"""Descriptions with streams: JSON, words, comparisons, and the refusals of code generators and of `tachyon call`."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import Any

import pytest

import tachyon
import tachyon.testing
from programs import program
from programs import tachyon as command
from tachyon import RpcBus, Struct, f64, i64, tachyon_rpc, u8, u32, u64
from tachyon._cli_describe import table
from tachyon._codegen import python
from tachyon._contract import describe_endpoint
from tachyon._description import DescriptionError, from_json
from tachyon._forms import EMPTY, RAW, Form, form
from tachyon._tachyon import Comparison, codegen_rust

LIMIT = 30.0


class Chunk(Struct):
    """A part of a file."""

    at: u64
    data: bytes


class PriceRequest(Struct):
    """The request of the program `typed_peer`."""

    instrument: u64
    quantity: i64


class PriceReply(Struct):
    """The reply of the program `typed_peer`."""

    bid: f64
    ask: f64


@tachyon_rpc(msg_type=2)
def price(request: PriceRequest) -> PriceReply: ...


def put() -> None:
    """Take something."""


def of(hint: Any) -> Form:
    return form(hint, "a test")


def described(request: Form, items: Form | None, reply: Form, *, streams: bool) -> str:
    return describe_endpoint(put, 7, (request, reply), [], items=items, streams=streams)


STREAMS = [
    (EMPTY, None, of(Chunk), True, "server stream", "put() -> stream of Chunk"),
    (of(str), None, of(str | None), True, "server stream", "put(str) -> stream of option[str]"),
    (RAW, of(Chunk), of(u64), False, "client stream", "put(bytes, items: stream of Chunk) -> u64"),
    (EMPTY, of(u8 | None), EMPTY, False, "client stream", "put(items: stream of option[u8])"),
    (of(Chunk), RAW, EMPTY, True, "two-way stream", "put(Chunk, items: stream of bytes) -> stream of empty"),
]


@pytest.mark.parametrize(("request_form", "items", "reply", "streams", "kind", "shown"), STREAMS)
def test_streams_are_described_and_read(  # noqa: PLR0913, PLR0917
    request_form: Form, items: Form | None, reply: Form, streams: bool, kind: str, shown: str
) -> None:
    text = described(request_form, items, reply, streams=streams)
    found = json.loads(text)
    assert found["schema"] == 3
    assert found["endpoints"][0].get("stream", False) is streams
    assert ("items" in found["endpoints"][0]) is (items is not None)
    description = from_json(text)
    (endpoint,) = description
    assert (endpoint.kind, str(endpoint)) == (kind, shown)
    assert endpoint.streams is streams
    assert (endpoint.items is None) is (items is None)
    assert table(description).splitlines()[1].split(maxsplit=1) == ["7", f"{shown}  Take something."]


def test_an_endpoint_without_streams_keeps_the_schema_of_earlier_readers() -> None:
    text = described(RAW, None, of(u32), streams=False)
    assert json.loads(text)["schema"] == 2
    (endpoint,) = from_json(text)
    assert (endpoint.kind, endpoint.items, endpoint.streams) == ("unary", None, False)
    with pytest.raises(DescriptionError, match="put is a stream in schema 2, and schema 3 is the first with streams"):
        from_json(described(RAW, None, RAW, streams=True).replace('"schema": 3', '"schema": 2'))


@pytest.mark.parametrize(
    ("items", "complaint"),
    [
        ({"form": "cbor"}, "the form `cbor`, which this version does not know"),
        ({"form": "value", "type": {"option": "str"}}, "the item of put is an option with the form `value`"),
        (
            {"form": "fields", "head": 8, "fields": [{"name": "a", "type": "u32", "offset": 4}]},
            "the one option `value`",
        ),
    ],
)
def test_other_items_are_refused(items: object, complaint: str) -> None:
    found = json.loads(described(RAW, RAW, RAW, streams=False))
    found["endpoints"][0]["items"] = items
    with pytest.raises(DescriptionError, match=complaint):
        from_json(json.dumps(found))


@pytest.mark.parametrize(("request_form", "items", "reply", "streams", "kind", "shown"), STREAMS)
def test_the_python_generator_writes_streams(  # noqa: PLR0913, PLR0917
    request_form: Form, items: Form | None, reply: Form, streams: bool, kind: str, shown: str
) -> None:
    described_here = from_json(described(request_form, items, reply, streams=streams))
    source = python(described_here)
    assert "from collections.abc import Iterator\n" in source
    names: dict[str, Any] = {"__name__": "generated_streams"}
    exec(compile(source, "generated", "exec", dont_inherit=True), names)
    again = tachyon.RpcDispatcher()
    again.register(names["put"])
    with tachyon.testing.serve(again) as bus:
        (endpoint,) = bus.describe()
    assert (endpoint.kind, str(endpoint)) == (kind, shown)


def test_the_rust_generator_writes_streams() -> None:
    source = codegen_rust(described(of(str), of(Chunk), of(u64), streams=True))
    assert "request: String,\n        items: tachyon::Items<Chunk>,\n        out: tachyon::StreamSender<u64>," in source
    source = codegen_rust(described(of(str), None, of(Chunk), streams=True))
    assert "fn put(&self, request: &str) -> impl Iterator<Item = Result<Chunk, String>> + 'static;" in source


def test_a_comparison_reports_the_stream_of_one_side_and_other_items() -> None:
    def difference(here: str, there: str) -> str:
        comparison = Comparison(here)
        answer = len(there.encode()).to_bytes(4, "little") + there.encode()
        with pytest.raises(tachyon.LayoutMismatchError) as raised:
            comparison.take(answer)
        return str(raised.value)

    unary, upload = described(RAW, None, RAW, streams=False), described(RAW, of(u32), EMPTY, streams=False)
    assert difference(unary, upload).startswith("put is unary here, a client stream at the callee")
    other = described(RAW, of(Chunk), EMPTY, streams=False)
    assert difference(upload, other).startswith("put: each item is u32 here, Chunk at the callee")
    texts, numbers = described(RAW, None, of(str), streams=True), described(RAW, None, of(u8), streams=True)
    assert difference(texts, numbers).startswith("put: each reply is str here, u8 at the callee")


def test_a_callee_with_a_stream_is_described_and_not_called(path: str) -> None:
    with subprocess.Popen(
        [program("typed_peer"), "compared", path, "streams"], stdout=subprocess.PIPE, text=True
    ) as callee:
        with RpcBus.connect(path) as bus:
            (endpoint,) = bus.describe(timeout=LIMIT)
            assert (endpoint.kind, str(endpoint)) == ("server stream", "price(PriceRequest) -> stream of PriceReply")
            request = PriceRequest(instrument=7, quantity=1)
            for call in (
                lambda: price.call(bus, request, timeout=LIMIT),
                lambda: asyncio.run(price.acall(bus, request, timeout=LIMIT)),
            ):
                with pytest.raises(tachyon.LayoutMismatchError) as raised:
                    call()
                assert str(raised.value).startswith("price is unary here, a server stream at the callee")
        assert callee.wait(LIMIT) == 0


def test_the_command_shows_a_stream(path: str) -> None:
    with subprocess.Popen(
        [program("typed_peer"), "compared", path, "streams"], stdout=subprocess.PIPE, text=True
    ) as callee:
        assert "price(PriceRequest) -> stream of PriceReply" in command("describe", path)
        assert json.loads(command("describe", path, "--json"))["schema"] == 3
        # The first caller is the last one.
        RpcBus.connect(path).close()
        assert callee.wait(LIMIT) == 0
