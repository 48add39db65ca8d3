"""What a machine is installed from by `--location`: a kernel and an initial RAM disk, found on a disc or in a folder.

Spec: virt-install(1), and productmd's .treeinfo. Other trees are known by where their distributions put these files. Left out: trees
behind a URL.
"""

import shutil
from pathlib import Path
from typing import Self

from innkeeper.errors import ConfigError, HostError
from innkeeper.image.cpio import Archive
from innkeeper.image.iso9660 import Disc
from innkeeper.manager.installation.journal import INITRD, KERNEL
from innkeeper.records import dataclass

INJECTED_LIMIT = 256 << 20
KNOWN = (
    ("install.amd/vmlinuz", "install.amd/initrd.gz"),  # Debian's discs
    ("images/netboot/debian-installer/amd64/linux", "images/netboot/debian-installer/amd64/initrd.gz"),
    ("current/images/netboot/debian-installer/amd64/linux", "current/images/netboot/debian-installer/amd64/initrd.gz"),
    ("debian-installer/amd64/linux", "debian-installer/amd64/initrd.gz"),  # what its package of netboot images holds
    ("netboot/vmlinuz", "netboot/initrd.gz"),
    ("live/vmlinuz", "live/initrd.img"),  # Debian's live discs
    ("casper/vmlinuz", "casper/initrd"),  # Ubuntu
    ("casper/vmlinuz", "casper/initrd.lz"),
    ("images/pxeboot/vmlinuz", "images/pxeboot/initrd.img"),  # Fedora and its kin
    ("isolinux/vmlinuz", "isolinux/initrd.img"),
    ("boot/x86_64/loader/linux", "boot/x86_64/loader/initrd"),  # SUSE
    ("arch/boot/x86_64/vmlinuz-linux", "arch/boot/x86_64/initramfs-linux.img"),
    ("boot/vmlinuz-virt", "boot/initramfs-virt"),  # Alpine
    ("boot/vmlinuz-lts", "boot/initramfs-lts"),
)


class Folder:
    """A tree in a folder of the host."""

    def __init__(self, path: Path) -> None:
        self.path, self.label = path, ""

    def has(self, place: str) -> bool:
        return (self.path / place).is_file()

    def text(self, place: str) -> str | None:
        try:
            return (self.path / place).read_text(errors="replace")
        except OSError:
            return None

    def extract(self, place: str, target: Path) -> None:
        try:
            shutil.copyfile(self.path / place, target)
        except OSError as error:
            raise HostError(f"cannot copy {self.path / place}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


Tree = Disc | Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where to install from, in virt-install's words: `PATH[,kernel=…,initrd=…]`."""

    path: Path
    kernel: str | None = None
    initrd: str | None = None

    @property
    def is_disc(self) -> bool:
        return not self.path.is_dir()

    def open(self) -> Tree:
        """Raises `InnkeeperError` unless there is a disc or a folder."""
        return Disc(self.path) if self.is_disc else Folder(self.path)


def boot_files(location: Location, tree: Tree) -> tuple[str, str]:
    """Where kernel and initial RAM disk are in the tree. Raises `ConfigError` if nothing says so."""
    if location.kernel is not None and location.initrd is not None:
        for place in (location.kernel, location.initrd):
            if not tree.has(place):
                raise ConfigError(f"--location has {place}, which is not in {location.path}")
        return location.kernel, location.initrd
    for kernel, initrd in (*of_treeinfo(tree), *KNOWN):
        if tree.has(kernel) and tree.has(initrd):
            return location.kernel or kernel, location.initrd or initrd
    raise ConfigError(
        f"{location.path} is no installer that is known; say where its kernel is, as in "
        "--location PATH,kernel=boot/vmlinuz,initrd=boot/initrd, or start it with --cdrom"
    )


def of_treeinfo(tree: Tree) -> list[tuple[str, str]]:
    text = tree.text(".treeinfo") or tree.text("treeinfo")
    if text is None:
        return []
    import configparser  # which few need, and the manager imports all of this when it starts

    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return []
    section = "images-x86_64"
    found = parser.get(section, "kernel", fallback=""), parser.get(section, "initrd", fallback="")
    return [found] if all(found) else []


def system_of(tree: Tree) -> str | None:
    """The short name of what is on it, as osinfo-db has them: `debian12`; None if it does not say."""
    about = (tree.text(".disk/info") or "").split()
    for words, name in ((("Debian", "GNU/Linux"), "debian"), (("Ubuntu",), "ubuntu"), (("Ubuntu-Server",), "ubuntu")):
        if about[: len(words)] == list(words) and len(about) > len(words):
            number = about[len(words)].split(".")
            names = {"bookworm": ["12"], "bullseye": ["11"], "trixie": ["13"]}
            number = names.get(number[0], number)
            return name + (number[0] if name == "debian" else ".".join(number[:2]))
    return None


def fetch(location: Location, folder: Path, inject: list[Path]) -> tuple[Path, Path]:
    """Copies of kernel and initial RAM disk in `folder`, with the files of `inject` in the latter's root."""
    with location.open() as tree:
        kernel, initrd = boot_files(location, tree)
        targets = folder / KERNEL, folder / INITRD
        tree.extract(kernel, targets[0])
        tree.extract(initrd, targets[1])
    add_to_initrd(targets[1], inject)
    return targets


def add_to_initrd(initrd: Path, inject: list[Path]) -> None:
    """Files in the root of a RAM disk: a second archive, which the kernel unpacks over the first."""
    if not inject:
        return
    import gzip

    archive = Archive()
    for path in inject:
        try:
            if path.exists() and not path.is_file():
                raise ConfigError(f"--initrd-inject has {path}, which is no file")
            if path.stat().st_size > INJECTED_LIMIT:
                raise ConfigError(f"--initrd-inject has {path}, which is larger than {INJECTED_LIMIT >> 20} MiB")
            archive.add_file(f"/{path.name}", path.read_bytes(), permissions=path.stat().st_mode & 0o777)
        except OSError as error:
            raise ConfigError(f"--initrd-inject has {path}, which cannot be read: {error.strerror}") from error
    try:
        with initrd.open("ab") as file:
            file.write(bytes(-file.tell() % 4))  # archives begin at multiples of four
            file.write(gzip.compress(archive.to_bytes(), 6, mtime=0))
    except OSError as error:
        raise HostError(f"cannot write {initrd}: {error.strerror}") from error
