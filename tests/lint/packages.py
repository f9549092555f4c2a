"""Check the packages in a folder: `python tests/lint/packages.py FOLDER`, as `make package` does.

The folder holds a `.crate` for each published crate, one source distribution and one wheel. Each of them carries the
repository's licence and a README, states the workspace's version, has metadata without placeholders, and ships no unit
test, no fuzz harness and no file for development.
"""

from __future__ import annotations

import re
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CRATES = ("tachyon", "tachyon-macros")
DISTRIBUTION = "tachyon_ipc"
UNWANTED = re.compile(
    r"(^|/)(tests?|fuzz|conftest)(/|\.\w+$)|(_tests?|/test_\w+)\.\w+$|(^|/)(requirements|\.(?!cargo_vcs_info))"
)
PLACEHOLDER = re.compile(
    r"example\.(?:com|org)|\bTODO\b|\bFIXME\b|your[-_ ]?name|<[\w ]*(?:owner|author|url)[\w ]*>", re.IGNORECASE
)


def contents(archive: Path) -> dict[str, bytes]:
    """Return the files in `archive` by name."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/")}
    files = {}
    with tarfile.open(archive) as packed:
        for member in packed:
            file = packed.extractfile(member)
            # The first part of a name is the package and its version.
            files[member.name.partition("/")[2]] = file.read() if file else b""
    return files


def faults(
    files: dict[str, bytes], licences: tuple[str, ...], metadata: str, licence: bytes, version: str
) -> Iterator[str]:
    """Yield each fault of one package."""
    for name in files:
        if UNWANTED.search(name):
            yield f"ships {name}"
    for name in licences:
        if files.get(name) != licence:
            yield f"{name} is not the repository's licence" if name in files else f"lacks {name}"
    if metadata not in files:
        yield f"lacks {metadata}"
        return
    text = files[metadata].decode()
    stated = re.search(r'^version(?: = "|: )([\w.+-]+)', text, re.MULTILINE | re.IGNORECASE)
    if stated is None or stated[1] != version:
        yield f"{metadata} states {stated[1] if stated else 'no version'}, the workspace {version}"
    if not re.search(r'^(?:license = "|license-expression: )Apache-2\.0', text, re.MULTILINE | re.IGNORECASE):
        yield f"{metadata} states no licence"
    # The other tables of a manifest are no metadata.
    stating = str(tomllib.loads(text)["package"]) if metadata == "Cargo.toml" else text
    for found in PLACEHOLDER.finditer(stating):
        yield f"{metadata} has a placeholder: {found[0]}"
    described = "README.md" in files if metadata == "Cargo.toml" else bool(text.partition("\n\n")[2].strip())
    if not described:
        yield "has no README"


def check(folder: Path, licence: bytes, version: str) -> Iterator[str]:
    """Yield each fault of the packages in `folder`."""
    named = f"{DISTRIBUTION}-{version}"
    wheels = sorted(folder.glob(f"{named}-*.whl"))
    if len(wheels) != 1:
        yield f"{folder}: {len(wheels)} wheels of {named}"
    packages: dict[Path, tuple[tuple[str, ...], str]] = {}
    for crate in CRATES:
        packages[folder / f"{crate}-{version}.crate"] = ("LICENSE",), "Cargo.toml"
    packages[folder / f"{named}.tar.gz"] = ("LICENSE", "tachyon/LICENSE", "tachyon-macros/LICENSE"), "PKG-INFO"
    for wheel in wheels:
        packages[wheel] = ((f"{named}.dist-info/licenses/LICENSE",), f"{named}.dist-info/METADATA")
    for archive, (licences, metadata) in packages.items():
        if not archive.is_file():
            yield f"{archive}: is missing"
            continue
        for fault in faults(contents(archive), licences, metadata, licence, version):
            yield f"{archive}: {fault}"


def main() -> int:
    """Check the packages in the folder that is named."""
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    found = list(check(Path(sys.argv[1]), (ROOT / "LICENSE").read_bytes(), version))
    print(*found, sep="\n", end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
