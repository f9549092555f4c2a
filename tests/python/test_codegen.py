"""The description of a callee becomes code that calls it: on the command line, in both languages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import programs
from generated import load
from programs import ROOT, tachyon
from tachyon import RpcBus
from tachyon._cli_describe import table
from tachyon._codegen import python
from tachyon._contract import contract_of
from tachyon._description import DescriptionError, from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Peer

EXAMPLES = ROOT / "examples"
GENERATED = ROOT / "tests/tests/generated"
LIMIT = 30.0

VALUE = {
    "class": 3,
    "kind": "None",
    "flag": True,
    "inner": [[{"copy": 1}], [{"copy": 2}]],
    "text": "hello",
    "raw": "0a0b0c",
}


def end(callee: Peer, path: str) -> None:
    """Be the only caller of a callee, and leave."""
    RpcBus.connect(path).close()
    callee.join()


@pytest.fixture
def odd(service: Callable[..., Peer], path: str) -> Iterator[Callable[[], Peer]]:
    yield lambda: service("odd_names", "bus", described=True)
    Path(path).unlink(missing_ok=True)


def test_generated_python_is_formatted_typed_and_calls(odd: Callable[[], Peer], path: str, tmp_path: Path) -> None:
    child = odd()
    file = tmp_path / "generated.py"
    file.write_text(tachyon("codegen", "python", path))
    for command in (
        ["ruff", "format", "--isolated", "--check", file],
        ["mypy", "--strict", "--cache-dir", tmp_path / "cache", file],
    ):
        process = subprocess.run(
            [sys.executable, "-m", *map(str, command)], capture_output=True, text=True, timeout=120, check=False
        )
        assert process.returncode == 0, process.stdout + process.stderr
    source = file.read_text()
    assert "tachyon._" not in source

    api = load(file)
    assert api.Odd.__doc__.startswith('Backslash \\ and three quotes """.')
    with RpcBus.connect(path) as bus:
        value = api.Odd(
            class_=3,
            kind=api.Kind.None_,
            flag=True,
            inner=[[api.Inner(copy_=1)], [api.Inner(copy_=2)]],
            text="hello",
            raw=b"abc",
        )
        assert api.lambda_.call(bus, value) == value
        assert api.Odd_.call(bus, [value, value]) == [api.Kind.None_] * 2
        assert api.count.call(bus) == 4
        assert api.raw.call(bus, b"xyz") == b"xyz"
        assert api.grid.call(bus, [1, 2]) is None
        with pytest.raises(NotImplementedError):
            api.count()
    child.join()


def test_a_saved_description_gives_the_same_code(odd: Callable[[], Peer], path: str, tmp_path: Path) -> None:
    child = odd()
    live = tachyon("codegen", "python", path)
    file = tmp_path / "odd.json"
    file.write_text(tachyon("describe", path, "--json"))
    end(child, path)
    assert tachyon("codegen", "python", file) == live
    assert "pub trait Endpoints" in tachyon("codegen", "rust", file)
    types = {each["name"]: each for each in json.loads(file.read_text())["types"]}
    assert list(types) == ["Kind", "Inner", "Odd"]
    assert [field["name"] for field in types["Odd"]["fields"]] == [
        "class",
        "kind",
        "flag",
        "_pad",
        "inner",
        "text",
        "raw",
    ]


def test_describe_shows_a_table(odd: Callable[[], Peer], path: str) -> None:
    child = odd()
    lines = tachyon("describe", path).splitlines()
    end(child, path)
    assert lines[0].split() == ["msg_type", "endpoint"]
    assert lines[1].split(maxsplit=4) == ["1", "lambda_(Odd)", "->", "Odd", "Gives back what it gets."]
    assert lines[2].split(maxsplit=1) == ["2", "Odd_(list[Odd]) -> list[Kind]"]
    assert lines[4].split(maxsplit=1) == ["4", "count() -> u8"]
    assert lines[5].split(maxsplit=1) == ["5", "raw(bytes) -> bytes"]
    assert lines[6].split(maxsplit=1) == ["6", "grid([f32; 2])"]


@pytest.mark.parametrize(
    ("name", "given", "printed"),
    [
        ("lambda_", VALUE, VALUE),
        ("1", VALUE, VALUE),
        ("Odd_", [VALUE], ["None"]),
        ("count", None, 4),
        ("raw", "hello", "hello"),
        ("grid", [1.0, 2.0], None),
    ],
)
def test_call_takes_and_gives_json(
    odd: Callable[[], Peer], path: str, name: str, given: object, printed: object
) -> None:
    child = odd()
    arguments = () if given is None else (json.dumps(given),)
    assert json.loads(tachyon("call", path, name, *arguments)) == printed
    child.join()


@pytest.mark.parametrize(
    ("name", "given", "complaint"),
    [
        ("missing", "1", "the callee has no endpoint `missing`; its endpoints: lambda_, Odd_"),
        ("lambda_", "{}", "and `class` is missing"),
        ("lambda_", json.dumps(VALUE | {"more": 1}), "and has no `more`"),
        ("lambda_", "[]", "the request must be an object, not list"),
        ("lambda_", json.dumps(VALUE | {"kind": "Some"}), "the request.kind must be one of None, real, not 'Some'"),
        ("lambda_", json.dumps(VALUE | {"class": -1}), "Odd.class_ is u32, from 0 to 4294967295"),
        ("lambda_", json.dumps(VALUE | {"raw": "xyz"}), "the request.raw is 3 bytes, two hexadecimal digits each"),
        ("count", "1", "the request is empty; leave out the JSON"),
        ("lambda_", "{", "Expecting property name"),
        ("grid", "[2, 1]", "grid: HANDLER_FAILED AssertionError"),
    ],
)
def test_call_explains_a_wrong_request(
    service: Callable[..., Peer], path: str, name: str, given: str, complaint: str
) -> None:
    child = service("odd_names", "bus", described=True, quiet=True)
    notice, message = tachyon("call", path, name, given, status=1).splitlines()
    child.join()
    assert notice == f"tachyon: the callee at {path} takes one caller, and ends after this call"
    assert message.startswith("tachyon: ")
    assert complaint in message


def test_a_text_cannot_control_the_terminal(peer: Callable[[str], Peer], path: str) -> None:
    script = r'''
dispatcher = tachyon.RpcDispatcher()

@dispatcher.handler(1)
def f(payload) -> tachyon.u8:
    """Clears \x1b[2J the screen, \u202e and turns it."""
    raise ValueError("\x1b[2J and\rover\u2028.")

with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16, dispatcher=dispatcher) as bus:
    dispatcher.serve_forever(bus)
'''
    child = peer(script)
    shown = tachyon("describe", path)
    end(child, path)
    assert shown.endswith(r"Clears \x1b[2J the screen, \u202e and turns it." + "\n")
    child = peer("import logging\nlogging.disable()\n" + script)
    message = tachyon("call", path, "f", '""', status=1)
    child.join()
    assert message.endswith(r"ValueError: \x1b[2J and\rover\u2028." + "\n")


def test_a_missing_callee_is_an_error_in_one_line(path: str, tmp_path: Path) -> None:
    assert "no listener at" in tachyon("describe", path, "--timeout", "0.1", status=1)
    file = tmp_path / "no.json"
    file.write_text("{}")
    assert "this is not the description of a callee" in tachyon("codegen", "python", file, status=1)


def described(layout: object) -> str:
    request = {"form": "payload", "layout": layout}
    endpoint = {"msg_type": 1, "name": "f", "request": request, "reply": {"form": "empty"}}
    return json.dumps({"schema": 1, "endpoints": [endpoint]})


def struct(name: str, *fields: tuple[str, object, int, int], size: int) -> object:
    keys = ("name", "type", "offset", "size")
    made = [dict(zip(keys, field, strict=True)) for field in fields]
    return {"kind": "struct", "name": name, "size": size, "align": 1, "fields": made}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[]", "this is not the description of a callee"),
        ("[" * 100_000, "nested more than 80 deep"),
        ('{"schema": 4, "endpoints": []}', "schema 4 and this version reads up to 3"),
        (described("u9"), "the type `u9`, which this version does not know"),
        (described({"kind": "array", "of": "u8", "len": 0}), "which has no bytes"),
        (described(struct("X", ("a", "u8", 1, 1), size=2)), "field `a` of X is at offset 1 and the field before it"),
        (described(struct("X", ("a", "u8", 0, 1), size=2)), "X has 2 bytes and its fields have 1"),
        (described(struct("X: pass\nimport os", ("a", "u8", 0, 1), size=1)), "is no name"),
        (described(struct("X", ("a = os", "u8", 0, 1), size=1)), "is no name"),
        (
            described({"kind": "enum", "name": "E", "repr": "u8", "variants": [{"name": "_A", "value": 1}]}),
            "begins with an underscore",
        ),
    ],
)
def test_bad_descriptions_make_no_code(text: str, complaint: str) -> None:
    with pytest.raises(DescriptionError) as raised:
        python(from_json(text))
    assert complaint in str(raised.value)


def test_types_of_one_name_are_told_apart() -> None:
    one = struct("X", ("a", "u8", 0, 1), size=1)
    two = struct("X", ("a", "i8", 0, 1), size=1)
    source = python(from_json(described(struct("Y", ("one", one, 0, 1), ("two", two, 1, 1), size=2))))
    assert "    one: X\n    two: X2\n" in source


def test_a_field_is_renamed_only_if_it_hides_a_name_of_its_class() -> None:
    one = struct("X", ("a", "u8", 0, 1), size=1)
    two = struct("Y", ("g", "u8", 0, 1), ("X", "u8", 1, 1), size=2)
    three = struct("Z", ("f", one, 0, 1), ("X", "u8", 1, 1), size=2)
    source = python(
        from_json(described(struct("W", ("two", two, 0, 2), ("three", three, 2, 2), ("W", "u8", 4, 1), size=5)))
    )
    assert "class Y(tachyon.Struct):\n    g: tachyon.u8\n    X: tachyon.u8\n" in source
    assert "class Z(tachyon.Struct):\n    f: X\n    X_: tachyon.u8\n" in source
    # An endpoint of that name, before or behind the class, changes nothing.
    endpoint = {"msg_type": 1, "name": "g", "request": {"form": "empty"}, "reply": {"form": "empty"}}
    other = endpoint | {"msg_type": 2, "name": "h", "request": {"form": "payload", "layout": two}}
    for endpoints in ([endpoint, other], [other, endpoint]):
        assert "    g: tachyon.u8\n" in python(from_json(json.dumps({"schema": 1, "endpoints": endpoints})))


def test_every_form_becomes_code(tmp_path: Path) -> None:
    """Text, lists, options, payloads with a head, arguments by name and declared errors."""
    source = python(from_json((GENERATED / "contract.json").read_text()))
    if "UPDATE" in os.environ:
        (GENERATED / "contract.py").write_text(source)
    assert source == (GENERATED / "contract.py").read_text()
    file = tmp_path / "contract.py"
    file.write_text(source)
    for command in (
        ["ruff", "format", "--isolated", "--check"],
        ["mypy", "--strict", "--cache-dir", str(tmp_path / "cache")],
        ["pyright", "--pythonpath", sys.executable],
    ):
        process = subprocess.run(
            [sys.executable, "-m", *command, str(file)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert process.returncode == 0, process.stdout + process.stderr
    assert load(file).filter.msg_type == 4


def test_every_form_is_shown_as_a_function() -> None:
    lines = table(from_json((GENERATED / "contract.json").read_text())).splitlines()
    shown = [re.split(r" {2,}", line, maxsplit=2)[1] for line in lines[1:]]
    assert shown[0] == "filter(scan: Scan, radius: f32, tags: list[u32]) -> Scan raises NoSensor, Busy"
    assert shown[1].endswith("mount: option[Mount]) -> option[list[Scan]] raises Busy, None, Side, Self")
    assert shown[2] == "names(str) -> list[str] raises Busy"
    assert shown[3] == "mount(Mount) raises Self"
    assert lines[1].endswith("raises NoSensor, Busy  Leaves out points.")


@pytest.mark.parametrize("language", ["python", "rust"])
def test_the_code_of_the_examples_is_up_to_date(language: str, path: str) -> None:
    service = [sys.executable, str(EXAMPLES / "python/order_service.py")]
    file = EXAMPLES / "rust/order_api.rs"
    if language == "python":
        service, file = [str(programs.EXAMPLES / "order_service")], EXAMPLES / "python/order_api.py"
    with subprocess.Popen([*service, path], stdout=subprocess.DEVNULL) as process:
        assert tachyon("codegen", language, path) == file.read_text()
        RpcBus.connect(path).close()
        assert process.wait(LIMIT) == 0


def test_the_code_of_the_extension_is_up_to_date(path: str) -> None:
    service = [sys.executable, str(EXAMPLES / "python/extension_service.py"), path]
    with subprocess.Popen(service, stdout=subprocess.DEVNULL) as process:
        assert tachyon("codegen", "python", path) == (EXAMPLES / "python/extension_api.py").read_text()
        tachyon("call", path, "stop")
        assert process.wait(LIMIT) == 0


def test_the_typed_demo() -> None:
    command = [sys.executable, str(EXAMPLES / "python/demo_typed.py"), "--binaries", str(programs.EXAMPLES)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "Every pair printed the same:" in process.stdout
    assert "refused: quantity must be at least 1" in process.stdout
    assert "kept 3 quotes" in process.stdout
    assert "refused: instrument 9 has no quote" in process.stdout
    assert "from Python: LOUD" in process.stdout


def test_tensors_become_aliases(tmp_path: Path) -> None:
    names = ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f32", "f64"]
    endpoints = [
        {
            "msg_type": at,
            "name": f"turn{at}",
            "request": {"form": "value", "type": {"tensor": name, "ndim": at % 8 + 1}},
            "reply": {"form": "value", "type": {"list": {"tensor": name, "ndim": at % 8 + 1}}},
        }
        for at, name in enumerate([*names, "f32", "u8", "f32"])
    ]
    tensor = {"tensor": "f64", "ndim": 8}
    fields = [{"name": "np", "type": tensor, "offset": 4}, {"name": "b", "type": {"option": tensor}, "offset": 12}]
    endpoints.append(
        {
            "msg_type": 100,
            "name": "F64Tensor8",
            "request": {"form": "fields", "head": 20, "fields": fields},
            "reply": {"form": "empty"},
        }
    )
    description = from_json(json.dumps({"schema": 2, "types": [], "endpoints": endpoints}))
    file = tmp_path / "generated.py"
    file.write_text(python(description))
    process = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--check", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr + file.read_text()
    api = load(file)
    for endpoint in description:
        made = getattr(api, endpoint.name if endpoint.msg_type < len(names) + 3 else "F64Tensor82")
        contract = contract_of(made.__wrapped__, made.msg_type, None)
        assert contract is not None
        (found,) = from_json(contract.describe())
        assert (found.request, found.reply) == (endpoint.request, endpoint.reply) or found.request.head is not None
        assert str(found.request) == str(endpoint.request)
