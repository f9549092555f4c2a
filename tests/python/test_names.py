"""Names of fields, padding, members, types and endpoints: each name works or is refused with advice."""

from __future__ import annotations

import ast
import builtins
import json
import keyword
import random
import types
from typing import Annotated, Any

import pytest

import tachyon
from tachyon._codegen import python
from tachyon._contract import contract_of
from tachyon._description import (
    ArrayType,
    BytesType,
    EnumType,
    FormType,
    ListType,
    PrimitiveType,
    StructType,
    from_json,
)
from tachyon._layout import Types
from tachyon._names import OF_ENUMS, OF_STRUCTS, normal, python_name, wire_name
from tachyon._values import encode, form_of, to_json

# Names with a meaning to Python, to a class, to an enum or to the package, and a few without a meaning.
NAMES = sorted(
    {
        *keyword.kwlist,
        *keyword.softkwlist,
        *dir(builtins),
        *dir(tachyon),
        *dir(tachyon.errors),
        *dir(type),
        *dir(tachyon.Struct),
        *dir(tachyon.IntEnum),
        *(dir(int)),
        *("self", "cls", "name", "value", "fields", "field", "view", "at", "request", "Annotated", "annotations"),
        *(
            "_blank",
            "_required",
            "_view",
            "_at",
            "_pad",
            "_lay_out",
            "_",
            "__",
            "___",
            "__private",
            "__x__",
            "_missing_",
        ),
        *("__layout__", "__slots__", "__annotations__", "__tachyon_view__", "__tachyon_blank__", "__match_args__"),
        *("größe", "\u00b5", "\u03bc", "\ufb01", "\uff43lass", "ª"),
    }
)
MICRO, MU = "\u00b5", "\u03bc"


def struct(hints: dict[str, Any], **values: Any) -> Any:
    kind: Any = type(tachyon.Struct)
    return kind("Made", (tachyon.Struct,), {"__annotations__": hints, **values})


@pytest.mark.parametrize("name", NAMES)
def test_a_field_works_or_is_refused_with_advice(name: str) -> None:
    hints = {name: tachyon.u32, "other": tachyon.u32}
    wanted = normal(name)
    if keyword.iskeyword(wanted) or wanted in OF_STRUCTS or (is_dunder(wanted)):
        with pytest.raises(TypeError) as raised:
            struct(hints)
        text = str(raised.value)
        assert text.startswith(f"field `{name}` of Made: ")
        advice = text.partition("call it `")[2].partition("`")[0]
        made = struct({advice: tachyon.u32, "other": tachyon.u32})
        if not name.startswith("_"):
            assert described(made)["fields"][0]["name"] == wanted
            assert f"`{advice}`, which travels as `{wanted}`" in text
        name = advice
    else:
        made = struct(hints)
    name = normal(name)
    if name.startswith("_"):
        assert bytes(made(other=1)) == bytes(4) + bytes(made(other=1))[4:]
        assert made.__match_args__ == ("other",)
        return
    one = made(**{name: 5, "other": 6})
    assert (getattr(one, name), one.other, made.__layout__.size) == (5, 6, 8)
    assert (one.copy(), made.from_bytes(bytes(one)), one.replace(**{name: 5})) == (one, one, one)
    assert eval(repr(one), {"Made": made}) == one
    assert made.dtype.names == (name, "other")


def is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name.strip("_") != ""


def test_exactly_the_attributes_of_a_struct_are_refused() -> None:
    assert {name for name in dir(tachyon.Struct) if not name.startswith("_")} | {"dtype"} == OF_STRUCTS
    # The other attributes are dunders, which no field may be named.
    private = {name for name in dir(tachyon.Struct) if name.startswith("_")}
    assert all(name.startswith("__") and name.endswith("__") for name in private)


def test_fields_of_a_class_statement() -> None:
    class Detection(tachyon.Struct):
        cls: tachyon.u32
        self: tachyon.u32
        name: tachyon.u32
        value: tachyon.u32
        µ: tachyon.u32  # noqa: PLC2401 - Python reads it as the Greek letter
        __private: tachyon.u32 = tachyon.pad()

    made = Detection(cls=1, self=2, name=3, value=4, µ=5)
    assert list(Detection.__layout__.by_name) == ["cls", "self", "name", "value", MU]
    assert (made.cls, made.self, made.name, made.value, made.µ) == (1, 2, 3, 4, 5)
    with pytest.raises(TypeError, match="a Struct has a dtype of its own; call it `dtype_`, which travels as `dtype`"):

        class Typed(tachyon.Struct):
            dtype: tachyon.u32


def test_a_name_that_is_too_long_is_refused_where_the_endpoint_is_made() -> None:
    def f(x: Any) -> None: ...

    for hint in (
        struct({"n" * 257: tachyon.u32}),
        type(tachyon.Struct)("n" * 257, (tachyon.Struct,), {"__annotations__": {"x": str}}),
    ):
        f.__annotations__["x"] = hint
        with pytest.raises(TypeError, match="is 257 bytes long, and the most is 256"):
            tachyon.tachyon_rpc(1)(f)


def test_names_travel_in_one_normal_form() -> None:
    for spelled in (MICRO, MU):
        made = struct({spelled: tachyon.u32})
        assert described(made)["fields"][0]["name"] == MU
        assert made(**{MU: 4}).µ == 4
    assert [normal(name) for name in ("abc", "ﬁ", "e\u0301")] == ["abc", "fi", "é"]


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("_")])
def test_a_member_works_or_is_refused_with_advice(name: str) -> None:
    def make(name: str) -> Any:
        space = type(tachyon.IntEnum).__prepare__("Kind", (tachyon.IntEnum,))
        space["__module__"] = __name__
        space[normal(name)] = 3
        kind: Any = type(tachyon.IntEnum)
        return kind("Kind", (tachyon.IntEnum,), space, repr="u8")

    name = normal(name)
    if keyword.iskeyword(name) or name in OF_ENUMS:
        # Every enum refuses `mro`.
        text = "invalid enum member name" if name == "mro" else f"^member `{name}` of Kind: .* call it `{name}_`"
        with pytest.raises((TypeError, ValueError), match=text):
            make(name)
        name = f"{name}_"
    made = make(name)
    member = made[normal(name)]
    assert (member, member.value, member.name, member.real, made(3)) == (3, 3, normal(name), 3, member)


def test_python_names_convert_back() -> None:
    for own in (OF_STRUCTS, OF_ENUMS):
        found = {python_name(name, own) for name in NAMES for name in (name, name + "_", name + "__")}
        assert len(found) == len({name for name in NAMES for name in (name, name + "_", name + "__")})
        assert all(wire_name(python_name(name, own), own) == name for name in NAMES)
    assert python_name("name", OF_STRUCTS) == "name"
    assert python_name("name", OF_ENUMS) == "name_"


class Maker:
    """Valid descriptions from a seed, with names that have a meaning."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.made: list[Any] = []

    def names(self, count: int, *, padding: bool) -> list[str]:
        known = [name for name in NAMES if padding or not name.startswith("_")]
        chosen = dict.fromkeys(normal(name) for name in self.random.choices(known, k=count))
        return list(chosen)

    def name(self) -> str:
        return self.random.choice(["Point", "Point", "f", *NAMES])

    def layout(self, depth: int) -> tuple[Any, int, int]:
        """Return a type, its size and its alignment."""
        kind = self.random.choice(["u32", "struct", "struct", "enum", "array", "bytes", "again"])
        if kind == "again" and self.made:
            return self.random.choice(self.made)
        if kind in {"u32", "again"} or depth > 2:
            return "u32", 4, 4
        if kind == "bytes":
            return {"kind": "bytes", "len": 4}, 4, 1
        if kind == "array":
            of, size, align = self.layout(depth + 1)
            return {"kind": "array", "of": of, "len": 2}, size * 2, align
        if kind == "enum":
            variants = [{"name": name, "value": at} for at, name in enumerate(self.names(4, padding=False))]
            made = {"kind": "enum", "name": self.name(), "repr": "u32", "variants": variants}, 4, 4
        else:
            fields, end, most = [], 0, 1
            for name in self.names(5, padding=True):
                of, size, align = self.layout(depth + 1)
                fields.append({"name": name, "type": of, "offset": end, "size": size})
                end, most = end + size, max(most, align)
            made = {"kind": "struct", "name": self.name(), "size": end, "align": most, "fields": fields}, end, most
        self.made.append(made)
        return made

    def form(self) -> Any:
        form = self.random.choice(["empty", "bytes", "payload", "payload", "slice"])
        return {"form": form, "layout": self.layout(0)[0]} if form in {"payload", "slice"} else {"form": form}

    def endpoint(self, msg_type: int) -> Any:
        odd = self.random.choice(["<lambda>", "", "two words", "2nd", "\x1b[2J", "a::b", "x" * 40, "=", "λ→"])
        name = odd if self.random.random() < 0.2 else self.name()
        return {"msg_type": msg_type, "name": name, "request": self.form(), "reply": self.form()}


def described(made: Any) -> Any:
    types = Types()
    made.__layout__.describe(types)
    return types.list[-1]


def plain(described: Any) -> Any:  # noqa: PLR0911 - one for each kind
    """Return a type without its names: its layout in memory."""
    match described:
        case FormType():
            return described.form, plain(described.type) if described.type else None
        case StructType():
            return described.size, [(plain(field.type), field.offset) for field in described.fields]
        case EnumType():
            return described.repr, [value for _, value in described.variants]
        case ArrayType(PrimitiveType("u8"), length):
            return BytesType("bytes", length)
        case ArrayType(of, length):
            return plain(of), length
        case ListType(of):
            return "list", plain(of)
    return described


@pytest.mark.parametrize("block", range(10))
def test_generated_modules_import_and_mean_the_same(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        maker = Maker(seed)
        endpoints = [maker.endpoint(number) for number in range(maker.random.choice([1, 3, 6]))]
        description = from_json(json.dumps({"schema": 1, "endpoints": endpoints}))
        source = python(description)
        module = types.ModuleType("generated")
        exec(compile(source, f"generated_{seed}.py", "exec", dont_inherit=True), module.__dict__)
        functions = [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
        assert len(set(functions)) == len(endpoints)
        for endpoint, name in zip(description, functions, strict=True):
            made = getattr(module, name)
            assert isinstance(made, tachyon.RpcEndpoint)
            assert made.msg_type == endpoint.msg_type
            found = contract_of(made.__wrapped__, made.msg_type, None)
            described = next(iter(from_json(found.describe()))) if found else None
            for part in ("request", "reply"):
                here = getattr(described, part) if described else FormType("bytes")
                assert plain(here) == plain(getattr(endpoint, part))
        # `tachyon call` must accept the same names.
        for endpoint in description:
            form_of(endpoint.request, endpoint.name)
            form_of(endpoint.reply, endpoint.name)


def test_two_layouts_of_one_name_are_two_classes() -> None:
    fields = [{"name": "a", "type": "u32", "offset": 0, "size": 4}]
    one = {"kind": "struct", "name": "f", "size": 4, "align": 4, "fields": fields}
    two = one | {"fields": [fields[0] | {"name": "b"}]}
    form = {"form": "payload", "layout": one}
    endpoint = {"msg_type": 1, "name": "f", "request": form, "reply": {"form": "payload", "layout": two}}
    source = python(from_json(json.dumps({"schema": 1, "endpoints": [endpoint, endpoint | {"msg_type": 2}]})))
    module = types.ModuleType("generated")
    exec(source, module.__dict__)
    assert (module.f(a=1).a, module.f2(b=2).b) == (1, 2)
    assert (module.f3.msg_type, module.f4.msg_type) == (1, 2)


def test_values_go_by_the_names_that_travel() -> None:
    names = ["class", "copy", "name", MICRO, "_blank"]
    fields = [{"name": name, "type": "u32", "offset": at * 4, "size": 4} for at, name in enumerate(names)]
    layout = {"kind": "struct", "name": "S", "size": 20, "align": 4, "fields": fields}
    request = {"form": "payload", "layout": layout}
    endpoint = {"msg_type": 1, "name": MICRO, "request": request, "reply": {"form": "empty"}}
    description = from_json(json.dumps({"schema": 1, "endpoints": [endpoint]}))
    assert description[MICRO] is description[MU]
    form = form_of(description[MU].request, MU)
    assert form.layout is not None
    for micro in (MICRO, MU):
        sent = encode(form, {"class": 1, "copy": 2, "name": 3, micro: 4}, "it")
        assert to_json(form.layout.plan.decode(sent, "it")) == {"class": 1, "copy": 2, "name": 3, MU: 4}
    assert len(sent) == 20


def test_annotated_padding_keeps_its_size() -> None:
    made = struct({"x": tachyon.u32, "_blank": Annotated[bytes, 4]}, _blank=tachyon.pad())
    assert bytes(made(x=1)) == b"\1\0\0\0" + bytes(4)
