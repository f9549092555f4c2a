"""The contract of every form, described by Rust and by Python: descriptions, generated code, the command line."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import numpy as np
import pytest

from contract import WORDS, served
from programs import ROOT, tachyon
from tachyon import RpcBus
from tachyon._description import FormType, PrimitiveType, TensorType
from tachyon._hints import layout
from tachyon._values import decode, form_of

GENERATED = ROOT / "tests/tests/generated/contract_service.rs"


def expanded(description: dict[str, Any]) -> list[Any]:
    """Return the endpoints without documentation, and with types instead of their numbers."""
    types = description.get("types", [])

    def whole(value: Any) -> Any:
        if isinstance(value, list):
            return [whole(each) for each in value]
        if not isinstance(value, dict):
            return value
        if "ref" in value:
            return whole(types[value["ref"]])
        # Rust has no type for bytes of a fixed length.
        if value.get("kind") == "bytes":
            return {"kind": "array", "of": "u8", "len": value["len"]}
        return {key: whole(each) for key, each in value.items() if key != "doc"}

    return [whole(endpoint) for endpoint in description["endpoints"]]


@pytest.mark.parametrize("role", ["one", "many", "sensor"])
def test_both_describe_the_same(role: str, path: str) -> None:
    described, heads = {}, {}
    for language in WORDS:
        with served(language, role, path):
            described[language] = json.loads(tachyon("describe", path, "--json"))
            lines = tachyon("describe", path).splitlines()[1:]
            RpcBus.connect(path).close()
        heads[language] = [re.split(r" {2,}", line.strip())[:2] for line in lines]
    assert heads["python"] == heads["rust"]
    assert len(heads["rust"]) == {"one": 65, "many": 29, "sensor": 5}[role]
    assert expanded(described["python"]) == expanded(described["rust"])


MARK = {"at": {"x": 0.5, "y": -1.0}, "grade": "Poor", "valid": True}
CALLS: list[tuple[str, str, list[Any], Any]] = [
    ("one", "value_u64", [2**64 - 1], 2**64 - 1),
    ("one", "value_enum", ["Poor"], "Poor"),
    ("one", "value_grid", [[[1, 2], [3, -4]]], [[1, 2], [3, -4]]),
    ("one", "marks", [[MARK]], [MARK]),
    ("one", "text", ["grün"], "grün"),
    ("one", "texts", [["a", ""]], ["a", ""]),
    ("one", "deep_rows", [[[["a"], []], []]], [[["a"], []], []]),
    ("one", "maybe_u32", [None], None),
    ("one", "maybe_text", ["text"], "text"),
    ("many", "nothing", [], None),
    ("many", "split", [{"text": "a,b", "at": {"number": 44}}], ["a", "b"]),
    ("many", "takes_maybe", [5], 6),
    ("one", "tensor", [[[1, 2.5], [3, 4]]], [[1.0, 2.5], [3.0, 4.0]]),
    ("one", "tensors", [[[1, -2], []]], [[1, -2], []]),
    ("one", "maybe_tensor", [[[[[]], [[]]]]], [[[[]], [[]]]]),
    ("many", "transposed", [{"image": [[1, 2]], "by": 2}], [[2.0], [4.0]]),
    ("many", "takes_tensor", [[[1, 2]]], 4),
    ("sensor", "rename", [{"from": "", "to": "first"}], "first"),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call[1])
def test_the_command_line_calls(language: str, path: str, call: tuple[str, str, list[Any], Any]) -> None:
    role, name, given, printed = call
    with served(language, role, path):
        assert json.loads(tachyon("call", path, name, *map(json.dumps, given))) == printed


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ("[[1, 2], [3]]", "[1] has 1 values, and those before it have 2; the rows of a tensor are equally long"),
        ("[1, 2]", "[0] must be a sequence of values, not int"),
        ("[[[1]]]", "[0][0] must be a number (f32), not list"),
    ],
)
def test_the_command_line_refuses_values_that_are_no_tensor(path: str, given: str, refused: str) -> None:
    with served("python", "one", path):
        assert refused in tachyon("call", path, "tensor", given, status=1)


def test_the_command_line_shows_no_tensor_of_a_million_values() -> None:
    hint = np.ndarray[tuple[int, int], np.dtype[np.uint8]]
    many = layout(hint, "x").plan.encode(np.zeros((1 << 10, 1 << 10), np.uint8), "x")
    lists = form_of(FormType("value", TensorType(PrimitiveType("u8"), 2)), "the reply")
    assert decode(lists, many, "the reply")[0][:2] == [0, 0]
    longer = many[:8] + (1 << 11).to_bytes(8, "little") + many[16:] + bytes(1 << 20)
    with pytest.raises(ValueError, match=r"a tensor of the shape \[2048, 1024\] is too long"):
        decode(lists, longer, "the reply")


def test_the_command_line_shows_a_declared_error(language: str, path: str) -> None:
    with served(language, "many", path):
        message = tachyon("call", path, "fails", json.dumps({"how": 1, "text": ""}), status=1)
    assert message.splitlines()[1:] == ["tachyon: fails: HANDLER_FAILED NoSensor: no sensor 3"]


def test_rust_code_for_the_python_service_is_the_compiled_code(path: str) -> None:
    """`UPDATE=1` writes the file anew; the program `contract` includes it."""
    with served("python", "many", path):
        source = tachyon("codegen", "rust", path)
        RpcBus.connect(path).close()
    if "UPDATE" in os.environ:
        GENERATED.write_text(source)
    assert source == GENERATED.read_text()


def test_python_code_for_both_services_is_the_same(path: str) -> None:
    sources = {}
    for language in WORDS:
        with served(language, "many", path):
            # Only the service in Rust has documentation.
            source = tachyon("codegen", "python", path)
            RpcBus.connect(path).close()
        sources[language] = [line for line in source.splitlines() if line.strip() not in ("", "pass")]
    shown = {language: [line for line in lines if '"""' not in line] for language, lines in sources.items()}
    assert shown["python"] == shown["rust"]
