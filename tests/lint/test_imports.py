"""`imports.py` finds circles behind re-exports, globs and paths in code, and none in tests."""

from __future__ import annotations

import unittest

from imports import Crate, circles, possible, shipped
from rust_text import Kind, code_alone, pieces


def found(sources: dict[str, str]) -> list[list[str]]:
    """Return the circles of a crate."""
    return [["::".join(module) for module in circle] for circle in circles(Crate(sources).edges())]


class Circles(unittest.TestCase):
    """Imports are followed to the file that defines a name."""

    def test_imports(self) -> None:
        sources = {
            "lib.rs": "mod a; mod b;",
            "a.rs": "use crate::b::B; struct A;",
            "b.rs": "use super::a::A; struct B;",
        }
        self.assertEqual(found(sources), [["a", "b"]])
        self.assertEqual(found(sources | {"b.rs": "struct B;"}), [])

    def test_behind_a_re_export(self) -> None:
        sources = {
            "lib.rs": "mod room; mod b;",
            "room/mod.rs": "mod a; mod c; pub use a::A;",
            "room/a.rs": "use crate::b::B; pub struct A;",
            "room/c.rs": "",
            "b.rs": "use crate::room::A; pub struct B;",
        }
        self.assertEqual(found(sources), [["b", "room::a"]])

    def test_behind_an_alias_and_a_glob(self) -> None:
        sources = {
            "lib.rs": "mod room; mod b;",
            "room/mod.rs": "mod a; pub use a::*;",
            "room/a.rs": "fn f() { crate::b::g() } pub struct A;",
            "b.rs": "use crate::room as r; fn g() { r::A::new() }",
        }
        self.assertEqual(found(sources), [["b", "room::a"]])

    def test_a_module_that_uses_its_rooms(self) -> None:
        sources = {"lib.rs": "mod a; fn f() { a::run() }", "a.rs": "fn run() { crate::f() }"}
        self.assertEqual(found(sources), [["", "a"]])
        self.assertEqual(found(sources | {"lib.rs": "mod a; pub use a::run; fn f() {}"}), [])

    def test_what_tests_import(self) -> None:
        sources = {
            "lib.rs": "mod a; mod b; mod fuzz;",
            "a.rs": "#[cfg(test)] mod tests { use crate::b::B; fn f() { let a = B {}; } } struct A;",
            "b.rs": "use crate::a::A; struct B {}",
            "fuzz.rs": "use crate::b::B;",
            "b/tests.rs": "use crate::a::A;",
        }
        self.assertEqual(found(sources), [])
        after = "#[cfg(test)] mod tests { fn f() {} } use crate::b::B; struct A;"
        self.assertEqual(found(sources | {"a.rs": after}), [["a", "b"]])

    def test_text_is_no_import(self) -> None:
        quoted = (
            'const LINK: &str = "https://x"; // use crate::b::B;\nconst C: char = \'"\'; /* crate::b::B */ struct A;'
        )
        sources = {"lib.rs": "mod a; mod b;", "a.rs": quoted, "b.rs": "use crate::a::A;"}
        self.assertEqual(found(sources), [])
        late = 'const LINK: &str = "https://x"; use crate::b::B; const S: &str = ""; struct A;'
        self.assertEqual(found(sources | {"a.rs": late}), [["a", "b"]])


class Shipped(unittest.TestCase):
    """The code that a build without tests has."""

    def test_conditions(self) -> None:
        for condition in ("test", "fuzzing", "any(test, fuzzing)", 'all(test, feature = "x")', "not(not(test))"):
            self.assertFalse(possible(condition.replace('"x"', '""')), condition)
        for condition in ("not(test)", 'any(feature = "", test)', "all(not(test), unix)", 'target_os = ""'):
            self.assertTrue(possible(condition), condition)

    def test_items(self) -> None:
        for item in (
            "use a::{b, c};",
            "fn f<A, B>(a: A) -> B { g(); }",
            "#[path] mod x;",
            "pub(crate) const fn x() {}",
            "static X: [u8; 2] = [1, 2];",
        ):
            self.assertEqual(shipped(f"a; #[cfg(test)] {item} b;").split(), ["a;", "b;"], item)

    def test_fields(self) -> None:
        self.assertEqual(
            shipped("{ a: u8, #[cfg(test)] b: (u8, u8), c: u8 }").split(), ["{", "a:", "u8,", "c:", "u8", "}"]
        )
        self.assertEqual(shipped("{ a: u8, #[cfg(test)] b: u8 } c").split(), ["{", "a:", "u8,", "}", "c"])

    def test_a_file_for_tests(self) -> None:
        self.assertEqual(shipped("#![cfg(test)]\nuse a::b;").strip(), "")


class Pieces(unittest.TestCase):
    """Rust code is split where its literals and comments end."""

    def test_they_are_the_source(self) -> None:
        source = 'let a = b\'\\\'\'; /* x /* y */ " */ r##"a"#b"## \'a: loop { "\\"//" } // end "\n\'"\' c"x" r#fn'
        self.assertEqual("".join(piece.text for piece in pieces(source)), source)
        texts = [piece.text for piece in pieces(source) if piece.kind is Kind.STRING]
        self.assertEqual(texts, ['r##"a"#b"##', '"\\"//"', '"x"'])

    def test_code(self) -> None:
        self.assertEqual(code_alone("a(\"x\", 'y') // z\n/* w */b::<'a>()"), "a(\"\", ' ') \n b::<'a>()")


if __name__ == "__main__":
    unittest.main()
