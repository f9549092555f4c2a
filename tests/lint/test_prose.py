"""Each rule of `prose.py` refuses what it should and lets the rest be."""

from __future__ import annotations

import subprocess
import sys
import unittest
from pathlib import Path

import prose

VAGUE = "What" + "ever"
HERE = Path(prose.__file__)


def lines(name: str, source: str, retired: dict[str, str] | None = None) -> list[int]:
    """Return the lines of the faults in `source`."""
    return [line for line, _ in prose.faults(Path(name), source, retired)]


class Rust(unittest.TestCase):
    """Comments and strings of Rust code."""

    def test_comments(self) -> None:
        for source in (
            "// What it does is this.\n",
            "/// Which it is.\n",
            "//! The start. What follows\n//! goes on.\n",
            "let x = 1; // Who calls.\n",
            "/* Whose it is. */\n",
            "/** Lines.\n * What follows.\n */\n",
            f"// The lock: {VAGUE} it guards.\n",
        ):
            self.assertEqual(len(lines("a.rs", source)), 1, source)

    def test_lines_of_a_fault(self) -> None:
        self.assertEqual(lines("a.rs", "// A first\n// line, and an end.\n// What comes third.\nfn f() {}\n"), [3])

    def test_strings(self) -> None:
        self.assertEqual(lines("a.rs", 'fail("What is this not");\n'), [1])
        self.assertEqual(lines("a.rs", 'fail("one line\\nand nobody else");\n'), [1])
        self.assertEqual(lines("a.rs", 'fail(r#"a "quoted" nobody here"#);\n'), [1])
        self.assertEqual(lines("a.rs", 'user("nobody");\n'), [])

    def test_quotes_that_are_no_strings(self) -> None:
        source = "let quote = '\"';\n// What this comment says.\nlet s: &'static str = \"//\"; // The end.\n"
        self.assertEqual(lines("a.rs", source), [2])

    def test_slashes_in_strings(self) -> None:
        self.assertEqual(lines("a.rs", 'let link = "a b // What is here";\n'), [])

    def test_examples(self) -> None:
        source = "/// ```\n/// let what = 1; // What is this.\n/// ```\n/// The end.\n"
        self.assertEqual(lines("a.rs", source), [2])

    def test_good_prose(self) -> None:
        for source in (
            "// What does `a.b` do? The callee answers.\n",
            "// The callee, which answers. `Who` is a name, `whatever` too.\n",
            "// Version 1.5 is what the peer has.\n",
            "// What about version 1.5?\n",
            "// Whatsapp\n",
        ):
            self.assertEqual(lines("a.rs", source), [], source)


class Python(unittest.TestCase):
    """Comments, docstrings and strings of Python code."""

    def test_faults(self) -> None:
        for source in (
            '"""What it does."""\n',
            'def f():\n    """The first.\n\n    Which one.\n    """\n',
            "x = 1  # What it is.\n",
            "#: What it is.\n",
            'raise Error("nobody is there")\n',
            'raise Error(f"nobody is {where} at all")\n',
            'raise Error("The start. " "What follows it")\n',
        ):
            self.assertEqual(len(lines("a.py", source)), 1, source)

    def test_good_prose(self) -> None:
        self.assertEqual(lines("a.py", 'name = "nobody"\n# What is it?\nx = f"{nobody} is there"\n'), [])

    def test_line_in_a_docstring(self) -> None:
        self.assertEqual(lines("a.pyi", 'class A:\n    """A text.\n\n    What else.\n    """\n'), [4])


class Others(unittest.TestCase):
    """Documents, and files whose comments begin with a hash."""

    def test_markdown(self) -> None:
        for source in (
            "# What is new\n",
            "- Who calls.\n",
            "| a | What is b |\n",
            "> Which is quoted.\n",
            "**What it is.** More.\n",
            "```sh\nmake x  # What it does.\n```\n",
            "~~~\ncode\n~~~\nWhat follows.\n",
        ):
            self.assertEqual(len(lines("a.md", source)), 1, source)

    def test_examples_are_code(self) -> None:
        self.assertEqual(lines("a.md", "````text\n```\nWhat is this.\n````\nThe end.\n"), [])

    def test_help_texts(self) -> None:
        self.assertEqual(lines("Makefile", "run: all ## What it runs\n\t@echo 'nobody is there'\n"), [1, 2])

    def test_shell(self) -> None:
        self.assertEqual(lines(".ci/run", "#!/bin/sh\n# What must pass.\nset -eu  # Which stops.\n"), [2, 3])
        self.assertEqual(lines(".ci/run", 'test "$#" = 0 && echo "the end is here"\n'), [])

    def test_comments_of_neighbouring_lines(self) -> None:
        self.assertEqual(lines("a.toml", "a = 1  # the first\nb = 2  # What follows\n# of both\n"), [2])

    def test_toml(self) -> None:
        self.assertEqual(lines("a.toml", 'description = "What it costs, measured"\n'), [1])


class Length(unittest.TestCase):
    """Lines end at 120 columns."""

    def test_limit(self) -> None:
        self.assertEqual(lines("a.rs", f"// {'x' * 117}\n// {'x' * 118}\n"), [2])
        self.assertEqual(lines("Makefile", f"run: ## {'x' * 120}\n\t{'x' * 130}\n"), [1])

    def test_links_and_tables(self) -> None:
        self.assertEqual(lines("a.md", f"A link: https://{'x' * 120}\n\n| {'x' * 130} |\n"), [])
        self.assertEqual(lines("a.rs", f"/// | {'x' * 130} |\n"), [])
        self.assertEqual(lines("a.md", f"{'x ' * 70} https://x\n"), [1])


class Retired(unittest.TestCase):
    """Old names are refused in code, prose and paths."""

    def test_identifiers(self) -> None:
        table = {"desk": "responder", "Lent": "StateRef"}
        self.assertEqual(lines("src/desk.rs", "use desk::Lent;\n// The `desk` answers.\n", table), [1, 1, 1, 2])
        self.assertEqual(lines("a.rs", "let lent = desks + front_desk;\n", table), [])
        self.assertEqual(lines("CHANGELOG.md", "Renamed: `desk`.\n", table), [])

    def test_message(self) -> None:
        self.assertIn("`responder`", prose.faults(Path("a.rs"), "desk();\n", {"desk": "responder"})[0][1])


class Command(unittest.TestCase):
    """The command line."""

    def test_a_path_without_files_is_an_error(self) -> None:
        command = [sys.executable, str(HERE), "no/such/path"]
        ended = subprocess.run(command, cwd=HERE.parents[2], capture_output=True, text=True, check=False)
        self.assertEqual(ended.returncode, 2)

    def test_files_of_the_repository(self) -> None:
        found = {file.as_posix() for file in prose.checked([])}
        expected = {".ci/run", "Makefile", "README.md", "tachyon/src/lib.rs", "tachyon-py/pyproject.toml"}
        self.assertLessEqual(expected, found)


if __name__ == "__main__":
    unittest.main()
