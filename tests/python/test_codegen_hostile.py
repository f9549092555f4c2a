"""Whatever a callee says about itself, the Python made of it is types and endpoints, and nothing it made up."""

from __future__ import annotations

import ast
import doctest
import io
import json
import random
import tokenize
import types
import unicodedata
from typing import Any

import pytest

import tachyon
from tachyon._codegen import python
from tachyon._description import DescriptionError, from_json

NAMES = [
    "a",
    "a_",
    "b",
    "Price",
    "tachyon",
    "\uff54achyon",
    "Annotated",
    "bytes",
    "str",
    "memoryview",
    "None",
    "NotImplementedError",
    "class",
    "\uff43lass",
    "match",
    "self",
    "_",
    "__",
    "__builtins__",
    "__name__",
    "__doc__",
    "__debug__",
    "__getattr__",
    "__slots__",
    "__init_subclass__",
    "__2",
    "__private",
    "_single",
    "copy",
    "dtype",
    "mro",
    "name",
    "größe",
    "ﬁ",
    "Struct",
    "request",
]
NO_NAMES = ["", "a b", "a: pass\nimport os", "2nd", "a\u200b", "a\u0000", 7, None, [], "x" * 5 + "="]
DOCS = [
    "",
    "Plain.",
    '"""',
    'ends in three """',
    'ends in four """"',
    'ends in two ""',
    'ends in one "',
    "ends in a backslash \\",
    "ends in two \\\\",
    'ends in both \\"',
    'ends in more \\"""',
    '\\"""\nimport os\n"""',
    "'''",
    "{evil}",
    ">>> raise SystemExit",
    "first\n\n    >>> raise SystemExit\n    1\n",
    "first\n\t>>> raise SystemExit",
    "first\n\u2003>>> raise SystemExit",
    ">>>>>> raise SystemExit",
    "\u202ereversed\u2028\u0085\x00\x1b[2J\r\n\x0c",
    "\ud800",
    "\\N{DIGIT ONE}\\x00\\u0000\\",
    " \n \n",
    "# type: ignore\n# -*- coding: utf-7 -*-",
]
SIZES = {
    name: size
    for size, names in {1: "u8 i8 bool", 2: "u16 i16", 4: "u32 i32 f32", 8: "u64 i64 f64"}.items()
    for name in names.split()
}
LENGTHS = [1, 1, 2, 3, 8, 0, -1, 1 << 30, 1 << 63, 1 << 70]


class Maker:
    """Descriptions from a seed: mostly right, so that most become code."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def seldom(self) -> bool:
        return self.random.random() < 0.02

    def name(self) -> Any:
        return self.random.choice(NO_NAMES if self.random.random() < 0.003 else NAMES)

    def doc(self) -> str:
        doc = self.random.choice(DOCS)
        return doc + self.random.choice(DOCS) if self.random.random() < 0.3 else doc

    def length(self) -> int:
        return self.random.choice(LENGTHS if self.seldom() else LENGTHS[:5])

    def layout(self, depth: int) -> tuple[Any, int, int]:
        """Give a type, its size and its alignment."""
        kind = self.random.choice(["number", "number", "array", "bytes", "str", "struct", "struct", "enum"])
        if kind == "number" or depth > 3:
            number = self.random.choice(list(SIZES))
            return number, SIZES[number], SIZES[number]
        if kind == "array":
            (of, size, align), length = self.layout(depth + 1), self.length()
            return {"kind": "array", "of": of, "len": length}, size * length, align
        if kind in {"bytes", "str"}:
            length = self.length()
            return {"kind": kind, "len": length}, length, 1
        return self.struct(depth) if kind == "struct" else self.enum()

    def struct(self, depth: int) -> tuple[Any, int, int]:
        fields, end, most = [], 0, 1
        for _ in range(self.random.choice([1, 1, 2, 3])):
            layout, size, align = self.layout(depth + 1)
            if (gap := -end % align) and not self.seldom():
                fields.append({"name": "_pad", "type": {"kind": "bytes", "len": gap}, "offset": end, "size": gap})
                end += gap
            fields.append({"name": self.name(), "type": layout, "offset": end, "size": size + self.seldom()})
            end, most = end + size, max(most, align)
        if (gap := -end % most) and not self.seldom():
            fields.append({"name": "_end", "type": {"kind": "bytes", "len": gap}, "offset": end, "size": gap})
            end += gap
        align = 3 if self.seldom() else most
        made = {"kind": "struct", "name": self.name(), "doc": self.doc(), "size": end, "align": align, "fields": fields}
        return made, end, most

    def enum(self) -> tuple[Any, int, int]:
        number = self.random.choice(["u8", "i8", "u16", "i64", "u64"])
        names = self.random.sample([name for name in NAMES if not name.startswith("_")], self.random.choice([1, 2, 3]))
        variants = [{"name": name, "value": value} for value, name in enumerate(names)]
        if self.seldom():
            variants[0]["value"] = self.random.choice([-1, 256, 1, 1 << 63, -(1 << 63)])
        made = {"kind": "enum", "name": self.name(), "doc": self.doc(), "repr": number, "variants": variants}
        return made, SIZES[number], SIZES[number]

    def form(self) -> Any:
        form = self.random.choice(["empty", "bytes", "payload", "payload", "slice"])
        return {"form": form, "layout": self.layout(0)[0]} if form in {"payload", "slice"} else {"form": form}

    def description(self) -> str:
        endpoints = [
            {
                "msg_type": self.random.choice([0, 7, 65534, 65535, -1] if self.seldom() else [0, 1, 2]),
                "name": self.name(),
                "doc": self.doc(),
                "request": self.form(),
                "reply": self.form(),
            }
            for _ in range(self.random.choice([0, 1, 2, 4]))
        ]
        return json.dumps({"schema": 1, "endpoints": endpoints})


def is_type(node: ast.expr, known: set[str]) -> bool:
    """Whether an annotation is one that the generator writes, of names that mean what they should."""
    match node:
        case ast.Constant(None) | ast.Name("memoryview" | "bytes" | "str"):
            return True
        case ast.Name(name):
            return name in known
        case ast.Attribute(ast.Name("tachyon"), attribute):
            return attribute in SIZES
        case ast.Subscript(ast.Name("Annotated"), ast.Tuple([of, ast.Constant(int(length))])):
            return length > 0 and is_type(of, known)
        case ast.Subscript(ast.Attribute(ast.Name("tachyon"), "Array"), of):
            return is_type(of, known)
    return False


def is_doc(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def check_class(node: ast.ClassDef, known: set[str]) -> None:
    assert node.decorator_list == []
    (base,) = node.bases
    assert ast.unparse(base) in {"tachyon.Struct", "tachyon.IntEnum"}
    is_enum = ast.unparse(base) == "tachyon.IntEnum"
    assert [(each.arg, type(each.value)) for each in node.keywords] == ([("repr", ast.Constant)] if is_enum else [])
    body = node.body[is_doc(node.body[0]) :]
    assert body
    for line in body:
        match line:
            case ast.Assign([ast.Name()], value) if is_enum:
                assert type(ast.literal_eval(value)) is int
            case ast.AnnAssign(ast.Name(), annotation, value) if not is_enum:
                assert is_type(annotation, known), ast.unparse(line)
                assert value is None or ast.unparse(value) == "tachyon.pad()"
            case _:
                pytest.fail(ast.unparse(line))


def check_function(node: ast.FunctionDef, known: set[str]) -> None:
    (decorator,) = node.decorator_list
    assert isinstance(decorator, ast.Call)
    (number,) = decorator.keywords
    assert (ast.unparse(decorator.func), decorator.args, number.arg) == ("tachyon.tachyon_rpc", [], "msg_type")
    assert type(ast.literal_eval(number.value)) is int
    arguments = node.args
    unused = (arguments.posonlyargs, arguments.kwonlyargs, arguments.vararg, arguments.kwarg, arguments.defaults)
    assert not any(unused)
    assert [each.arg for each in arguments.args] in ([], ["request"])
    for hint in (node.returns, *(each.annotation for each in arguments.args)):
        assert hint is not None
        assert is_type(hint, known), ast.unparse(hint)
    body = node.body[is_doc(node.body[0]) :]
    assert [ast.unparse(line) for line in body] == ["raise NotImplementedError"]


def check(source: str) -> ast.Module:
    """See that a module holds nothing but what the generator means to write."""
    tree = ast.parse(source)
    known: set[str] = set()
    taken = {"Annotated", "tachyon", "NotImplementedError", "memoryview", "bytes", "str"}
    doc, *body = tree.body
    assert is_doc(doc)
    for node in body:
        match node:
            case ast.ImportFrom():
                assert ast.unparse(node) == "from typing import Annotated"
            case ast.Import():
                assert ast.unparse(node) == "import tachyon"
            case ast.ClassDef(name) | ast.FunctionDef(name):
                plain = unicodedata.normalize("NFKC", name)
                assert plain == name
                assert not name.startswith("__")
                assert name not in taken
                taken.add(name)
                if isinstance(node, ast.ClassDef):
                    check_class(node, known)
                    known.add(name)
                else:
                    check_function(node, known)
            case _:
                pytest.fail(ast.unparse(node))
    # Comments are no nodes; the generator writes none.
    assert not any(token.type == tokenize.COMMENT for token in tokenize.generate_tokens(io.StringIO(source).readline))
    return tree


def load(source: str) -> types.ModuleType:
    module = types.ModuleType("generated")
    exec(compile(source, "generated.py", "exec", dont_inherit=True), module.__dict__)
    return module


def examples(module: types.ModuleType) -> int:
    found = doctest.DocTestFinder(exclude_empty=True).find(module, globs={})
    return sum(len(test.examples) for test in found)


@pytest.mark.parametrize("block", range(8))
def test_made_up_descriptions_become_harmless_code(block: int) -> None:
    written = 0
    for seed in range(block * 100, block * 100 + 100):
        text = Maker(seed).description()
        try:
            source = python(from_json(text))
        except DescriptionError:
            continue
        written += 1
        assert source.isprintable() or set(source) - set(filter(str.isprintable, source)) == {"\n"}
        check(source)
        module = load(source)
        assert (module.__name__, module.tachyon) == ("generated", tachyon)
        assert module.__builtins__ is __builtins__ or module.__builtins__ == vars(__import__("builtins"))
        assert examples(module) == 0
    assert written > 40


@pytest.mark.parametrize("doc", DOCS)
def test_a_text_comes_out_as_it_went_in(doc: str) -> None:
    endpoint = {"msg_type": 1, "name": "f", "doc": doc, "request": {"form": "empty"}, "reply": {"form": "empty"}}
    source = python(from_json(json.dumps({"schema": 1, "endpoints": [endpoint]})))
    check(source)
    module = load(source)
    function = next(node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    found = ast.get_docstring(function, clean=False) or ""

    def plain(text: str) -> list[str]:
        return [line.strip() for line in text.strip().split("\n")]

    if ">>>" not in doc:
        assert plain(found) == plain(doc.replace("\ud800", "?"))
    assert examples(module) == 0


@pytest.mark.parametrize(
    "name", ["__builtins__", "__name__", "__getattr__", "__debug__", "\uff54achyon", "bytes", "__"]
)
def test_a_name_cannot_take_the_place_of_what_the_module_uses(name: str) -> None:
    fields = [{"name": name, "type": "u8", "offset": 0, "size": 1}]
    struct = {"kind": "struct", "name": name, "size": 1, "align": 1, "fields": fields}
    request = {"form": "payload", "layout": struct}
    endpoint = {"msg_type": 1, "name": name, "request": request, "reply": {"form": "bytes"}}
    source = python(from_json(json.dumps({"schema": 1, "endpoints": [endpoint, endpoint | {"msg_type": 2}]})))
    check(source)
    module = load(source)
    assert module.tachyon is tachyon
    assert module.__name__ == "generated"
    with pytest.raises(AttributeError):
        module.missing  # noqa: B018
    numbers = [getattr(value, "msg_type", None) for value in vars(module).values()]
    assert [number for number in numbers if type(number) is int] == [1, 2]


@pytest.mark.parametrize(
    ("layout", "complaint"),
    [
        ({"kind": "enum", "name": "E", "repr": "u8", "variants": []}, "no variants"),
        ({"kind": "enum", "name": "E", "repr": "u8", "variants": [{"name": "A", "value": 256}]}, "which is no u8"),
        (
            {
                "kind": "enum",
                "name": "E",
                "repr": "u8",
                "variants": [{"name": "A", "value": 1}, {"name": "A", "value": 2}],
            },
            "a name or a value twice",
        ),
        ({"kind": "bytes", "len": 1 << 40}, "longer than any message"),
        ({"kind": "bytes", "len": 1 << 64}, "no whole number of 64 bits"),
        (
            {
                "kind": "struct",
                "name": "S",
                "size": 5,
                "align": 4,
                "fields": [
                    {"name": "a", "type": "u8", "offset": 0, "size": 1},
                    {"name": "b", "type": "u32", "offset": 1, "size": 4},
                ],
            },
            "which no u32 has",
        ),
    ],
)
def test_what_python_cannot_import_is_refused(layout: Any, complaint: str) -> None:
    endpoint = {"msg_type": 1, "name": "f", "request": {"form": "slice", "layout": layout}, "reply": {"form": "empty"}}
    with pytest.raises(DescriptionError) as raised:
        python(from_json(json.dumps({"schema": 1, "endpoints": [endpoint]})))
    assert complaint in str(raised.value)


def test_deep_nesting_and_endless_texts_are_refused_at_once() -> None:
    layout: Any = "u8"
    for _ in range(60):
        layout = {"kind": "array", "of": layout, "len": 1}
    endpoint = {"msg_type": 1, "name": "f", "request": {"form": "slice", "layout": layout}, "reply": {"form": "empty"}}
    for text in (
        json.dumps({"schema": 1, "endpoints": [endpoint]}),
        "[" * 1_000_000,
        '"' + '\\"' * 1_000_000,
        '{"schema": 1' + "0" * 10_000,
    ):
        with pytest.raises(DescriptionError):
            from_json(text)


def test_one_name_over_and_over_is_found_at_once() -> None:
    endpoint = {"name": "f", "request": {"form": "empty"}, "reply": {"form": "empty"}, "msg_type": 1}
    source = python(from_json(json.dumps({"schema": 1, "endpoints": [endpoint] * 20_000})))
    assert source.count("def f") == 20_000
    assert "def f20000()" in source
