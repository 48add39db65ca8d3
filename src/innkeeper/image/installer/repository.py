"""A repository on a disc: a pool of packages, and the index by which debootstrap and apt find them.

Spec: Debian repository format. The index is not signed: whoever trusts the disc trusts it, as with Debian's own discs.
"""

import hashlib
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from innkeeper.errors import ImageError

CHUNK = 1 << 20
SUMS = {"MD5sum": "md5", "SHA256": "sha256"}


def write_repository(tree: Path, suite: str, packages: list[Path]) -> None:
    """Puts packages under `pool/` and their index under `dists/`."""
    pool = tree / "pool" / "main"
    pool.mkdir(parents=True)
    index = tree / "dists" / suite / "main" / "binary-amd64"
    index.mkdir(parents=True)
    stanzas = []
    for package in packages:
        place = pool / package.name.replace("%3a", ":").replace(":", "_")  # file names of ISO 9660
        shutil.copyfile(package, place)
        stanzas.append(stanza(place, place.relative_to(tree)))
    (index / "Packages").write_text("".join(f"{each}\n" for each in stanzas))  # each ends with an empty line
    (index / "Release").write_text(
        f"Archive: {suite}\nComponent: main\nOrigin: Debian\nLabel: Debian\nArchitecture: amd64\n"
    )
    release = tree / "dists" / suite
    (release / "Release").write_text(describe(release, suite))


def stanza(package: Path, place: Path) -> str:
    """A package's paragraph in the index."""
    shown = subprocess.run(["dpkg-deb", "--field", str(package)], capture_output=True, text=True, check=False)
    if shown.returncode != 0:
        raise ImageError(f"{package.name} is no package: {shown.stderr.strip()}")
    sums = "".join(f"{name}: {digest(package, kind)}\n" for name, kind in {"MD5sum": "md5", "SHA256": "sha256"}.items())
    return f"{shown.stdout.rstrip()}\nFilename: {place}\nSize: {package.stat().st_size}\n{sums}"


def describe(folder: Path, suite: str) -> str:
    """The release file, with the sums of what lies below it."""
    now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S UTC")
    lines = [
        "Origin: Debian",
        "Label: Debian",
        f"Suite: {suite}",
        f"Codename: {suite}",
        f"Date: {now}",
        "Architectures: amd64",
        "Components: main",
        "Description: Debian packages for an installation",
    ]
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    for name, kind in SUMS.items():
        lines.append(f"{name}:")
        lines += [f" {digest(file, kind)} {file.stat().st_size} {file.relative_to(folder)}" for file in files]
    return "\n".join(lines) + "\n"


def digest(file: Path, kind: str) -> str:
    summed = hashlib.new(kind, usedforsecurity=False)
    with file.open("rb") as opened:
        while piece := opened.read(CHUNK):
            summed.update(piece)
    return summed.hexdigest()
