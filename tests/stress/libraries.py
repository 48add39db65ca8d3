"""A dynamically linked program of a Debian package, with the shared libraries that it needs.

Spec: System V gABI, chapter 5 (.dynamic: DT_NEEDED, an offset into .dynstr). Left out: DT_RPATH, libraries opened
at run time. Libraries are looked for only in the packages that the needing one depends on, so that a graphics
library does not bring its drivers.
"""

import shutil
import struct
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from innkeeper.errors import ImageError
from innkeeper.image.cache import build_directory, cache_directory
from innkeeper.image.modules import section
from innkeeper.image.packages import Package, PackageClient

DT_NEEDED = 1
DYNAMIC_ENTRY = struct.Struct("<qQ")
LIBRARY_FOLDERS = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")
PLACE = "lib/x86_64-linux-gnu"  # where the loader looks without a cache
LOADER = "ld-linux-x86-64.so.2"
LOADER_PLACE = "lib64"  # every program names its loader there


@dataclass(frozen=True, slots=True)
class Owned:
    """A file, and the package that it came in."""

    path: Path
    package: Package


def program_with_libraries(package: str, program: str) -> Path:
    """A folder in the user's cache to be laid over a guest's root: `program`, a path in `package`, ready to run."""
    finder = Finder()
    owner = finder.package(package)
    final = cache_directory() / "programs" / f"{package}_{owner.version.replace(':', '%3a')}"

    def fill(folder: Path) -> None:
        first = Owned(finder.client.unpack(owner) / program, owner)
        place(first.path, folder / "bin" / first.path.name)
        for name, library in sorted(closure(finder, first).items()):
            place(library.path, folder / PLACE / name)
        place(folder / PLACE / LOADER, folder / LOADER_PLACE / LOADER)

    return build_directory(final, fill)


class Finder:
    """Finds libraries, and asks for each package once: every look at the package lists takes half a second."""

    def __init__(self) -> None:
        self.client = PackageClient()
        self._packages: dict[str, Package] = {}

    def package(self, name: str) -> Package:
        if name not in self._packages:
            self._packages[name] = self.client.find(name)
        return self._packages[name]

    def library(self, name: str, needing: Owned) -> Owned:
        """The library `name`: in the package of the file that needs it, or in one that this depends on."""
        for package_name in (needing.package.name, *needing.package.depends):
            package = self.package(package_name)
            root = self.client.unpack(package)
            for folder in LIBRARY_FOLDERS:
                path = root / folder / name
                if path.exists():
                    return Owned(path.resolve(), package)  # a library's name is a link to its version
        raise ImageError(f"no library {name}, which {needing.path} needs, in the packages that this depends on")


def closure(finder: Finder, first: Owned) -> dict[str, Owned]:
    """Every library that `first` needs, and that those need, by name."""
    found: dict[str, Owned] = {}
    pending = deque([first])
    while pending:
        needing = pending.popleft()
        for name in needed(needing.path.read_bytes()):
            if name not in found:
                found[name] = finder.library(name, needing)
                pending.append(found[name])
    return found


def needed(elf: bytes) -> list[str]:
    """The names of the libraries that an ELF object is linked with."""
    names = section(elf, b".dynstr")
    entries = DYNAMIC_ENTRY.iter_unpack(section(elf, b".dynamic"))
    return [names[value:].split(b"\0", 1)[0].decode() for tag, value in entries if tag == DT_NEEDED]


def place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
