"""`packages.py` sees a missing licence, a shipped test, a placeholder and a wrong version."""

from __future__ import annotations

import unittest

from packages import faults

LICENCE = b"the licence"
MANIFEST = b'[package]\nname = "a"\nversion = "0.6.0"\nlicense = "Apache-2.0"\n[lints.clippy]\ntodo = "warn"\n'
CRATE = {
    "LICENSE": LICENCE,
    "README.md": b"# A",
    "src/lib.rs": b"",
    ".cargo_vcs_info.json": b"",
    "Cargo.toml": MANIFEST,
}
METADATA = b"Metadata-Version: 2.4\nName: a\nVersion: 0.6.0\nLicense-Expression: Apache-2.0\n\n# A\n"


def of(files: dict[str, bytes], metadata: str = "Cargo.toml") -> list[str]:
    """Return the faults of a package."""
    return list(faults(files, ("LICENSE",), metadata, LICENCE, "0.6.0"))


class Packages(unittest.TestCase):
    """Faults of one package."""

    def test_a_good_crate(self) -> None:
        self.assertEqual(of(CRATE), [])

    def test_a_good_wheel(self) -> None:
        self.assertEqual(of({"LICENSE": LICENCE, "METADATA": METADATA}, "METADATA"), [])

    def test_licence(self) -> None:
        self.assertEqual(of(CRATE | {"LICENSE": b""}), ["LICENSE is not the repository's licence"])
        self.assertEqual(of({name: CRATE[name] for name in CRATE if name != "LICENSE"}), ["lacks LICENSE"])
        self.assertEqual(
            of(CRATE | {"Cargo.toml": MANIFEST.replace(b"Apache", b"Other")}), ["Cargo.toml states no licence"]
        )

    def test_readme(self) -> None:
        self.assertEqual(of({name: CRATE[name] for name in CRATE if name != "README.md"}), ["has no README"])
        bare = METADATA.partition(b"\n\n")[0]
        self.assertEqual(of({"LICENSE": LICENCE, "METADATA": bare}, "METADATA"), ["has no README"])

    def test_unwanted_files(self) -> None:
        for name in (
            "src/a/tests.rs",
            "src/fuzz/mod.rs",
            "src/a_tests.rs",
            "tests/x.py",
            "requirements-dev.txt",
            ".env",
        ):
            self.assertEqual(of(CRATE | {name: b""}), [f"ships {name}"])

    def test_version(self) -> None:
        self.assertEqual(len(of(CRATE | {"Cargo.toml": MANIFEST.replace(b"0.6.0", b"0.1.0")})), 1)

    def test_placeholders(self) -> None:
        with_link = MANIFEST.replace(b"license", b'repository = "https://example.com/a"\nlicense')
        self.assertEqual(of(CRATE | {"Cargo.toml": with_link}), ["Cargo.toml has a placeholder: example.com"])


if __name__ == "__main__":
    unittest.main()
