"""Debian packages, fetched and unpacked without privileges by the host's own package client.

`apt-cache` says what there is, `apt-get download` fetches and verifies it, `dpkg-deb` unpacks it into
the user's cache; nothing is installed. A host whose package lists are missing or out of date gets
lists of its own in the cache. Left out: hosts without apt.
"""

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from innkeeper.errors import ImageError
from innkeeper.image.cache import build_directory, cache_directory
from innkeeper.records import dataclass

ARCHITECTURE = "amd64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One version of one package, as the package lists describe it."""

    name: str
    version: str
    depends: tuple[str, ...]


class PackageClient:
    """Asks the host's package lists first, and a private copy of them once those do not help."""

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache or cache_directory()
        self._options: list[str] = []
        self._fetched = False
        for tool in ("apt-get", "apt-cache", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise ImageError(f"{tool} is not on this host; packages can only be fetched on Debian and its kin")

    def find(self, name: str) -> Package:
        """The version of `name` that the host would install."""
        found = self._show(name)
        while found is None and self._use_better_lists():
            found = self._show(name)
        if found is None:
            raise ImageError(f"no package {name} in the package lists of this host")
        return found

    def unpack(self, package: Package) -> Path:
        """The directory with the package's files: fetched and unpacked only if it is not there yet."""
        version = package.version.replace(":", "%3a")  # as apt itself names its files
        final = self._cache / "packages" / f"{package.name}_{version}_{ARCHITECTURE}"

        def fill(directory: Path) -> None:
            with TemporaryDirectory(prefix=".download-", dir=directory) as scratch:
                deb = self._download(package, Path(scratch))
                run(["dpkg-deb", "--extract", str(deb), str(directory)])

        return build_directory(final, fill)

    def _show(self, name: str) -> Package | None:
        command = ["apt-cache", *self._options, "show", "--no-all-versions", f"{name}:{ARCHITECTURE}"]
        shown = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if shown.returncode != 0:
            return None
        return parse_stanza(shown.stdout)

    def _download(self, package: Package, directory: Path) -> Path:
        wanted = f"{package.name}:{ARCHITECTURE}={package.version}"
        command = ["apt-get", *self._options, "--quiet=2", "-o", "APT::Sandbox::User=root", "download", wanted]
        try:
            run(command, directory)
        except ImageError:
            # The host's lists may name a version that the archive has already replaced by a newer one.
            if not self._use_better_lists():
                raise
            return self._download(self.find(package.name), directory)
        debs = list(directory.glob("*.deb"))
        if len(debs) != 1:
            raise ImageError(f"apt-get download {wanted} left {len(debs)} packages where one was expected")
        return debs[0]

    def _use_better_lists(self) -> bool:
        """Goes on to the lists in the cache, then to fresh ones there. False if those were used already."""
        apt = self._cache / "apt"
        private = ["-o", f"Dir::State::Lists={apt}/lists", "-o", f"Dir::Cache={apt}"]
        if not self._options and any(apt.glob("lists/*_Packages*")):
            self._options = private
            return True
        if self._fetched:
            return False
        for directory in (apt / "lists" / "partial", apt / "archives" / "partial"):
            directory.mkdir(parents=True, exist_ok=True)
        run(["apt-get", *private, "--quiet=2", "-o", "APT::Sandbox::User=root", "update"])
        self._options, self._fetched = private, True
        return True


def parse_stanza(text: str) -> Package | None:
    """Reads the first paragraph of `apt-cache show` (deb822 format)."""
    fields: dict[str, str] = {}
    for line in text.split("\n\n", 1)[0].splitlines():
        key, colon, value = line.partition(":")
        if colon and not line[0].isspace():
            fields[key] = value.strip()
    if not {"Package", "Version"} <= fields.keys():
        return None
    clauses = [clause.split("|")[0].split("(")[0].strip() for clause in fields.get("Depends", "").split(",")]
    depends = tuple(clause.removesuffix(f":{ARCHITECTURE}") for clause in clauses if clause)
    return Package(name=fields["Package"], version=fields["Version"], depends=depends)


def run(command: list[str], directory: Path | None = None, *, words: str = "") -> None:
    """Runs one of the host's tools with `words` to read; its own last words become the error's."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, input=words)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        reason = lines[-1] if lines else f"exit status {done.returncode}"
        raise ImageError(f"{command[0]} failed: {reason}")
