"""A small guest in one file: busybox, kernel modules, your files, an init script.

Spec: Linux Documentation/filesystems/ramfs-rootfs-initramfs.rst. The same input gives the same bytes.
"""

import gzip
import hashlib
import subprocess
from pathlib import Path

from innkeeper.errors import ImageError
from innkeeper.image.cache import cache_directory, write_file
from innkeeper.image.cpio import Archive
from innkeeper.image.modules import ModuleTree, dependency_file, read_module
from innkeeper.image.packages import PackageClient
from innkeeper.records import dataclass

BUSYBOX_PACKAGE = "busybox-static"

SETUP = """\
# Sourced by an init script: mounts the kernel's file systems, loads the modules of /etc/modules.
export PATH=/bin HOME=/root TERM="${TERM:-vt100}"
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /tmp
exec </dev/console >/dev/console 2>&1
while read -r module; do modprobe "$module"; done </etc/modules
"""

DEFAULT_INIT = """\
#!/bin/sh
. /etc/innkeeper/setup
echo "Innkeeper guest. Leave the shell (exit or ^D) to power off."
cd /root
# cttyhack finds the terminal behind /dev/console, which itself cannot have job control.
setsid cttyhack sh -l
poweroff -f
"""

DIRECTORIES = ("/dev", "/etc", "/proc", "/root", "/sys", "/tmp")  # noqa: S108 - the guest's


@dataclass(frozen=True, slots=True, kw_only=True)
class InitramfsRecipe:
    """What goes in. `files` are (source on the host, absolute place in the guest)."""

    modules: tuple[str, ...] = ()
    modules_directory: Path | None = None  # a kernel's /lib/modules/RELEASE; needed if there are modules
    files: tuple[tuple[Path, str], ...] = ()
    init: Path | None = None
    busybox: Path | None = None  # instead of the one of Debian's package busybox-static


def build_initramfs(recipe: InitramfsRecipe, output: Path | None = None) -> Path:
    """Builds the archive and returns its path: `output`, or a place in the cache named by its content."""
    busybox = recipe.busybox or fetch_busybox()
    data = gzip.compress(assemble(recipe, busybox), compresslevel=9, mtime=0)
    if output is None:
        directory = cache_directory() / "initramfs"
        directory.mkdir(exist_ok=True)
        output = directory / f"{hashlib.sha256(data).hexdigest()[:16]}.cpio.gz"
    return write_file(output, data)


def fetch_busybox(client: PackageClient | None = None) -> Path:
    client = client or PackageClient()
    root = client.unpack(client.find(BUSYBOX_PACKAGE))
    for place in ("usr/bin/busybox", "bin/busybox"):  # since Debian 13, and before
        if (root / place).is_file():
            return root / place
    raise ImageError(f"no busybox in package {BUSYBOX_PACKAGE}")


def assemble(recipe: InitramfsRecipe, busybox: Path) -> bytes:
    archive = Archive()
    for directory in DIRECTORIES:
        archive.add_directory(directory)
    archive.add_character_device("/dev/console", major=5, minor=1)
    add_busybox(archive, busybox)
    archive.add_file("/etc/innkeeper/setup", SETUP.encode())
    init = DEFAULT_INIT.encode() if recipe.init is None else read(recipe.init)
    archive.add_file("/init", init, permissions=0o755)
    add_modules(archive, recipe)
    for source, place in recipe.files:
        add_tree(archive, source, place)
    return archive.to_bytes()


def add_busybox(archive: Archive, busybox: Path) -> None:
    archive.add_file("/bin/busybox", read(busybox), permissions=0o755)
    try:
        listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        raise ImageError(f"{busybox} does not list its applets: {error}") from error
    for applet in listed.stdout.split():
        if applet != "busybox":
            archive.add_symlink(f"/bin/{applet}", "busybox")
    archive.add_symlink("/sbin/modprobe", "/bin/busybox")  # where the kernel itself looks for it


def add_modules(archive: Archive, recipe: InitramfsRecipe) -> None:
    if recipe.modules and recipe.modules_directory is None:
        raise ImageError("modules were chosen but not from which kernel")
    modules = []
    if recipe.modules and recipe.modules_directory is not None:
        tree = ModuleTree(recipe.modules_directory)
        place = f"/lib/modules/{recipe.modules_directory.name}"
        modules = tree.closure(recipe.modules)
        for _, path in modules:
            archive.add_file(f"{place}/{tree.relative(path)}", read_module(path))
        archive.add_file(f"{place}/modules.dep", dependency_file(tree, modules).encode())
    archive.add_file("/etc/modules", "".join(name + "\n" for name, _ in modules).encode())


def add_tree(archive: Archive, source: Path, place: str) -> None:
    """Adds a file, a symlink as such, or a directory with all in it."""
    place = place.rstrip("/")
    if source.is_symlink():
        archive.add_symlink(place, str(source.readlink()))
    elif source.is_dir():
        if place:
            archive.add_directory(place)
        for child in sorted(source.iterdir()):
            add_tree(archive, child, f"{place}/{child.name}")
    else:
        archive.add_file(place, read(source), permissions=0o755 if source.stat().st_mode & 0o100 else 0o644)


def read(path: Path) -> bytes:
    if not path.is_file():
        raise ImageError(f"cannot read {path}: {'not a regular file' if path.exists() else 'no such file'}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from error
