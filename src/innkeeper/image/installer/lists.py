"""Package lists of their own, in which apt finds what it is to fetch as if nothing were installed.

The host's apt says where its packages come from; the installer's own packages (udebs) are a component of the same archive.
"""

import os
import subprocess
from pathlib import Path

from innkeeper.errors import ImageError
from innkeeper.image.cache import cache_directory
from innkeeper.image.packages import run
from innkeeper.records import dataclass

UDEBS = "main/debian-installer"


@dataclass(frozen=True, slots=True)
class Lists:
    """apt, with lists in `folder`."""

    folder: Path

    def update(self, suite: str) -> None:
        """Raises `ImageError` if the host's apt knows no archive of that release."""
        for part in ("lists/partial", "archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        (self.folder / "sources.list").write_text("".join(f"{line}\n" for line in sources(suite)))
        run(["apt-get", *self._options(), "--quiet=2", "update"])

    def fetch(self, wanted: list[str], into: Path) -> list[Path]:
        """The packages, and all that they depend on."""
        (into / "partial").mkdir(parents=True)
        options = [*self._options(), "-o", f"Dir::Cache::archives={into}", "-o", "APT::Install-Recommends=false"]
        run(["apt-get", *options, "--quiet=2", "--yes", "--download-only", "install", *wanted])
        return sorted(into.glob("*.deb"))

    def fetch_alone(self, names: list[str], into: Path) -> list[Path]:
        """Just these packages, or udebs."""
        into.mkdir(parents=True)
        run(["apt-get", *self._options(), "--quiet=2", "download", *names], into)
        return sorted([*into.glob("*.udeb"), *into.glob("*.deb")])

    def _options(self) -> list[str]:
        pairs = {
            "Dir::State::Lists": self.folder / "lists",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder,
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": os.devnull,
            "APT::Sandbox::User": "root",
            "APT::Architecture": "amd64",
            "Debug::NoLocking": "true",
        }
        return [word for key, value in pairs.items() for word in ("-o", f"{key}={value}")]


def lists(suite: str) -> Lists:
    """Up to date, in the user's cache."""
    made = Lists(cache_directory() / f"apt-{suite}")
    made.update(suite)
    return made


def sources(suite: str) -> list[str]:
    """The lines of a sources.list. Raises `ImageError` if the host has no archive of the release."""
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    asked = ["apt-get", "indextargets", "--format", form, "Identifier: Packages"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    found = sorted({line for line in done.stdout.splitlines() if f" {suite}" in line})
    first = [line.rsplit(" ", 1)[0] for line in found if line.split()[1:] == [suite, "main"]]
    if not first:
        raise ImageError(f"this host's apt has no archive of {suite}; put one into its sources")
    return [f"deb {line}" for line in found] + [f"deb {line} {UDEBS}" for line in first]
