"""Any description becomes types and endpoints in Python, and no other code."""

from __future__ import annotations

import ast
import doctest
import io
import itertools
import json
import random
import re
import tokenize
import types
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest

import tachyon
from tachyon._codegen import python
from tachyon._description import DescriptionError, from_json

if TYPE_CHECKING:
    from collections.abc import Iterator

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

    def __init__(self, seed: int, *, variable: bool) -> None:
        self.random = random.Random(seed)
        # Whether there are payloads without a fixed size.
        self.variable = variable

    def seldom(self) -> bool:
        return self.random.random() < 0.02

    def name(self) -> Any:
        return self.random.choice(NO_NAMES if self.random.random() < 0.003 else NAMES)

    def names(self) -> Iterator[Any]:
        """Return mostly different names."""
        names = self.random.sample(NAMES, 8)
        return (self.name() if self.seldom() else name for name in names)

    def doc(self) -> str:
        doc = self.random.choice(DOCS)
        return doc + self.random.choice(DOCS) if self.random.random() < 0.3 else doc

    def length(self) -> int:
        return self.random.choice(LENGTHS if self.seldom() else LENGTHS[:5])

    def layout(self, depth: int) -> tuple[Any, int, int]:
        """Return a type, its size and its alignment."""
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

    def value(self, depth: int) -> tuple[Any, int, int]:
        """Return a type of a field behind a head, its size and its alignment."""
        kind = self.random.choice(["fixed", "fixed", "str", "list", "option", "head"])
        if kind == "fixed" or depth > 3:
            return self.layout(depth)
        if kind == "str":
            return "str", 8, 4
        if kind == "head":
            return {"kind": "struct", "name": self.name(), "doc": self.doc()} | self.head(depth), 8, 4
        of, *_ = self.value(depth + 1)
        if isinstance(of, dict) and "option" in of and not self.seldom():
            of = "u8"
        return {kind: of}, 8, 4

    def head(self, depth: int, least: int = 0) -> dict[str, Any]:
        fields, end = [], 4
        for name in itertools.islice(self.names(), max(least, self.random.choice([0, 1, 2, 3]))):
            value, size, align = self.value(depth + 1)
            offset = end + -end % align + self.seldom()
            field = {"name": name, "type": value, "offset": offset}
            fields.append(field | {"default": True} if self.seldom() else field)
            end = offset + size
        return {"head": end + self.seldom(), "fields": fields}

    def raises(self) -> list[Any]:
        errors = self.random.choice([0, 0, 1, 2]) if self.variable else 0
        return [{"name": name, "doc": self.doc()} | self.head(2) for name in itertools.islice(self.names(), errors)]

    def struct(self, depth: int) -> tuple[Any, int, int]:
        fields, end, most = [], 0, 1
        for name in itertools.islice(self.names(), self.random.choice([1, 1, 2, 3])):
            layout, size, align = self.layout(depth + 1)
            if (gap := -end % align) and not self.seldom():
                fields.append({"name": f"_pad{end}", "type": {"kind": "bytes", "len": gap}, "offset": end, "size": gap})
                end += gap
            fields.append({"name": name, "type": layout, "offset": end, "size": size})
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

    def form(self, *, reply: bool = False) -> Any:
        kinds = (
            ["empty", "bytes", "value", "value", "value", "fields"] if self.variable else ["empty", "bytes", "value"]
        )
        form = self.random.choice(kinds)
        if form == "fields" and reply:
            return {"form": form, "head": 12, "fields": [{"name": "value", "type": {"option": "str"}, "offset": 4}]}
        if form == "fields":
            return {"form": form} | self.head(0, 1)
        if form == "value":
            found = self.value(0)[0] if self.variable else self.layout(0)[0]
            return {"form": form, "type": {"list": found} if self.random.random() < 0.3 else found}
        return {"form": form}

    def description(self) -> str:
        endpoints = [
            {
                "msg_type": self.random.choice([0, 7, 65534, 65535, -1] if self.seldom() else [0, 1, 2]),
                "name": self.name(),
                "doc": self.doc(),
                "request": self.form(),
                "reply": self.form(reply=True),
                "raises": self.raises(),
            }
            for _ in range(self.random.choice([0, 1, 2, 4]))
        ]
        return json.dumps({"schema": 2, "endpoints": endpoints})


def is_type(node: ast.expr, known: set[str]) -> bool:
    """Whether the generator writes this annotation, and its names have their meaning."""
    match node:
        case ast.Constant(None) | ast.Name("memoryview" | "bytes" | "str"):
            return True
        case ast.Name(name):
            return name in known
        case ast.Attribute(ast.Name("tachyon"), attribute):
            return attribute in SIZES
        case ast.Subscript(ast.Name("Annotated"), ast.Tuple([of, ast.Constant(int(length))])):
            return length > 0 and is_type(of, known)
        case ast.Subscript(ast.Attribute(ast.Name("tachyon"), "Array") | ast.Name("list"), of) | ast.BinOp(
            of, ast.BitOr(), ast.Constant(None)
        ):
            return is_type(of, known)
    return False


def is_doc(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def check_class(node: ast.ClassDef, known: set[str], errors: set[str]) -> None:
    assert node.decorator_list == []
    if not node.bases:
        # A namespace holds errors whose names are taken.
        assert node.name.endswith("Errors") or node.name[:-1].endswith("Errors") or node.name[-1].isdigit()
        assert is_doc(node.body[0])
        for inner in node.body[1:]:
            assert isinstance(inner, ast.ClassDef)
            check_class(inner, known, errors)
            errors.add(f"{node.name}.{inner.name}")
        return
    (base,) = map(ast.unparse, node.bases)
    keywords = {each.arg: ast.literal_eval(each.value) for each in node.keywords}
    assert base in {"tachyon.Struct", "tachyon.IntEnum", "tachyon.EndpointError"}
    is_enum = base == "tachyon.IntEnum"
    if is_enum:
        assert keywords.keys() == {"repr"}
    elif base == "tachyon.EndpointError":
        assert keywords.keys() == {"text"}
        names = [
            line.target.id
            for line in node.body
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        ]
        assert set(re.findall(r"\{(.*?)\}", keywords["text"])) <= set(names)
        assert re.fullmatch(r"\w+(: .*)?", keywords["text"])
    else:
        assert keywords in ({}, {"extensible": True})
    body = node.body[is_doc(node.body[0]) :]
    hidden: set[str] = set()
    for line in body:
        match line:
            case ast.Assign([ast.Name()], value) if is_enum:
                assert type(ast.literal_eval(value)) is int
            case ast.AnnAssign(ast.Name(name), annotation, value) if not is_enum:
                assert is_type(annotation, known), ast.unparse(line)
                assert not hidden & {part.id for part in ast.walk(annotation) if isinstance(part, ast.Name)}
                assert value is None or ast.unparse(value) in {"tachyon.pad()", "None"}
                hidden.add(name)
            case ast.Pass():
                assert len(node.body) == 1
            case _:
                pytest.fail(ast.unparse(line))


def check_function(node: ast.FunctionDef, known: set[str], errors: set[str]) -> None:
    (decorator,) = node.decorator_list
    assert isinstance(decorator, ast.Call)
    number, *raises = decorator.keywords
    assert (ast.unparse(decorator.func), decorator.args, number.arg) == ("tachyon.tachyon_rpc", [], "msg_type")
    assert type(ast.literal_eval(number.value)) is int
    assert [each.arg for each in raises] in ([], ["raises"])
    for each in raises:
        assert isinstance(each.value, ast.Tuple)
        assert {ast.unparse(error) for error in each.value.elts} <= errors
        assert each.value.elts
    arguments = node.args
    assert not any((arguments.posonlyargs, arguments.kwonlyargs, arguments.vararg, arguments.kwarg))
    assert all(ast.unparse(default) == "None" for default in arguments.defaults)
    assert "NotImplementedError" not in [each.arg for each in arguments.args]
    for hint in (node.returns, *(each.annotation for each in arguments.args)):
        assert hint is not None
        assert is_type(hint, known), ast.unparse(hint)
    body = node.body[is_doc(node.body[0]) :]
    assert [ast.unparse(line) for line in body] == ["raise NotImplementedError"]


def check(source: str) -> ast.Module:
    """Check that a module holds only the constructs of the generator."""
    tree = ast.parse(source)
    known: set[str] = set()
    errors: set[str] = set()
    taken = {"Annotated", "tachyon", "NotImplementedError", "memoryview", "bytes", "str", "list"}
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
                if isinstance(node, ast.FunctionDef):
                    check_function(node, known, errors)
                else:
                    check_class(node, known, errors)
                    is_error = bool(node.bases) and ast.unparse(node.bases[0]) == "tachyon.EndpointError"
                    (errors if is_error else known).add(name)
            case _:
                pytest.fail(ast.unparse(node))
    # Comments are no nodes. The generator writes no comment.
    assert not any(token.type == tokenize.COMMENT for token in tokenize.generate_tokens(io.StringIO(source).readline))
    return tree


def load(source: str) -> types.ModuleType:
    module = types.ModuleType("generated")
    exec(compile(source, "generated.py", "exec", dont_inherit=True), module.__dict__)
    return module


def examples(module: types.ModuleType) -> int:
    found = doctest.DocTestFinder(exclude_empty=True).find(module, globs={})
    return sum(len(test.examples) for test in found)


@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize("block", range(8))
def test_made_up_descriptions_become_harmless_code(block: int, *, variable: bool) -> None:
    written = 0
    for seed in range(block * 100, block * 100 + 100):
        text = Maker(seed, variable=variable).description()
        try:
            source = python(from_json(text))
        except DescriptionError:
            continue
        written += 1
        assert source.isprintable() or set(source) - set(filter(str.isprintable, source)) == {"\n"}
        check(source)
        compile(source, "generated.py", "exec", dont_inherit=True)
        module = load(source)
        assert (module.__name__, module.tachyon) == ("generated", tachyon)
        assert module.__builtins__ is __builtins__ or module.__builtins__ == vars(__import__("builtins"))
        assert examples(module) == 0
    assert written > 30


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
        assert plain(found) == plain(doc)
    assert examples(module) == 0


@pytest.mark.parametrize(
    "name", ["__builtins__", "__name__", "__getattr__", "__debug__", "\uff54achyon", "bytes", "__"]
)
def test_a_name_cannot_hide_a_name_that_the_module_uses(name: str) -> None:
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
            "E has the name `A` twice",
        ),
        (
            {
                "kind": "enum",
                "name": "E",
                "repr": "u8",
                "variants": [{"name": "A", "value": 1}, {"name": "B", "value": 1}],
            },
            "a name or a value twice",
        ),
        ({"kind": "bytes", "len": 1 << 40}, "is 1099511627776 bytes long, and the most is"),
        ({"kind": "bytes", "len": 1 << 31}, "longer than any message"),
        ({"kind": "bytes", "len": 1 << 64}, "this is not the description of a callee"),
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
            "field `b` of S is at offset 1, and a u32 must be at a multiple of 4",
        ),
    ],
)
def test_descriptions_that_python_cannot_import_are_refused(layout: Any, complaint: str) -> None:
    endpoint = {"msg_type": 1, "name": "f", "request": {"form": "slice", "layout": layout}, "reply": {"form": "empty"}}
    with pytest.raises(DescriptionError) as raised:
        python(from_json(json.dumps({"schema": 1, "endpoints": [endpoint]})))
    assert complaint in str(raised.value)


def test_deep_nesting_and_endless_texts_are_refused_at_once() -> None:
    layout: Any = "u8"
    for _ in range(70):
        layout = {"kind": "array", "of": layout, "len": 1}
    endpoint = {"msg_type": 1, "name": "f", "request": {"form": "slice", "layout": layout}, "reply": {"form": "empty"}}
    for text in (
        json.dumps({"schema": 1, "endpoints": [endpoint]}),
        json.dumps({"schema": 1, "endpoints": [], "types": ["\ud800"]}),
        '{"schema": 1, "endpoints": [], "x": "\ud800"}',
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
