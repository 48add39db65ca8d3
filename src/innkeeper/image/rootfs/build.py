"""A recipe → a disk image that boots: the system's archive, its file systems, and GRUB, in one raw file.

Needs no privileges and mounts nothing: mke2fs fills the root file system itself, under fakeroot where the
archive's owners cannot be made otherwise.
"""

import os
import shlex
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

from innkeeper.errors import ImageError
from innkeeper.image.packages import run
from innkeeper.image.rootfs.debian import System, make_system
from innkeeper.image.rootfs.layout import MIB, Layout, write_grub
from innkeeper.image.rootfs.recipe import RootfsRecipe

TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "sfdisk": "fdisk",
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
}
TOOLS_WITHOUT_ROOT = {"fakeroot": "fakeroot"}
BLOCK = 4096

STAGES = (
    "running apt-get update",
    "downloading packages with apt",
    "extracting archives",
    "installing essential packages",
    "installing remaining packages inside the chroot",
    "cleaning package lists and apt cache",
    "creating tarball",
    "making file systems",
)
WEIGHTS = (2, 10, 4, 12, 50, 2, 6, 14)  # as long as they took where this was written

Progress = Callable[[str, float], None]
"""What begins now, and how much is done, from 0 to 1."""


def build_rootfs(
    recipe: RootfsRecipe,
    output: Path,
    progress: Progress = lambda _stage, _done: None,
    finish: Callable[[Path], Path] = lambda raw: raw,
) -> Path:
    """Makes the disk image `output`, which must not exist. Raises `ImageError`; nothing is left then.

    `finish` may make another file of the raw image, beside it.
    """
    require_tools()
    if output.exists():
        raise ImageError(f"{output} exists already; remove it, or choose another name")
    if not output.parent.is_dir():
        raise ImageError(f"cannot write {output}: there is no directory {output.parent}")
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{output.name}.unfinished-", dir=output.parent))
    except OSError as error:
        raise ImageError(f"cannot write {output}: {error.strerror}") from error
    try:
        finish(fill(recipe, scratch, progress)).rename(output)
    except OSError as error:
        raise ImageError(f"cannot write {output}: {error.strerror}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return output


def require_tools() -> None:
    """Raises `ImageError` with all packages that are missing."""
    wanted = TOOLS if os.geteuid() == 0 else {**TOOLS, **TOOLS_WITHOUT_ROOT}
    missing = sorted({package for tool, package in wanted.items() if shutil.which(tool) is None})
    if missing:
        raise ImageError(f"this host lacks what makes a root file system: apt-get install {' '.join(missing)}")


def fill(recipe: RootfsRecipe, scratch: Path, progress: Progress) -> Path:
    """Does all the work in one directory, and gives the image in it."""

    def told(stage: str) -> None:
        if stage in STAGES:
            at = STAGES.index(stage)
            progress(stage, sum(WEIGHTS[:at]) / sum(WEIGHTS))

    root_uuid = uuid4()
    system = make_system(recipe, root_uuid, scratch, told)
    told(STAGES[-1])
    image = scratch / "disk.raw"
    layout = Layout(int(recipe.size_gib * 1024) * MIB)
    with image.open("wb") as file:
        file.truncate(layout.size)
    layout.write_table(image, root_uuid)
    write_grub(image, system.read("boot.img"), system.read("core.img"))
    make_esp(image, layout, system)
    make_root(image, layout, system, root_uuid)
    with image.open("rb") as whole:
        os.fsync(whole.fileno())
    progress("done", 1.0)
    return image


def make_esp(image: Path, layout: Layout, system: System) -> None:
    """The EFI system partition, with GRUB where firmware looks for it by default (UEFI 2.10, 3.5.1.1)."""
    start, size = layout.esp
    part = system.directory / "esp.fat"
    with part.open("wb") as file:
        file.truncate(size)
    run(["mkfs.vfat", "-F", "16", "-n", "ESP", str(part)])
    run(["mmd", "-i", str(part), "::/EFI", "::/EFI/BOOT"])
    run(["mcopy", "-i", str(part), str(system.directory / "bootx64.efi"), "::/EFI/BOOT/BOOTX64.EFI"])
    with part.open("rb") as source, image.open("r+b") as target:
        target.seek(start)
        while piece := source.read(MIB):
            if piece.strip(b"\0"):
                target.write(piece)
            else:
                target.seek(len(piece), os.SEEK_CUR)


def make_root(image: Path, layout: Layout, system: System, root_uuid: UUID) -> None:
    """The root file system, written into its partition by mke2fs itself."""
    start, size = layout.root
    tree = system.directory / "tree"
    tree.mkdir()
    unpack = ["tar", "--extract", "--same-permissions", "--numeric-owner", "--xattrs", "--xattrs-include=*"]
    unpack += ["--file", str(system.archive), "--directory", str(tree)]
    options = f"offset={start},root_owner=0:0,lazy_itable_init=1"
    make = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-U", str(root_uuid), "-b", str(BLOCK), "-E", options]
    make += ["-d", str(tree), str(image), str(size // BLOCK)]
    script = f"set -e; {shlex.join(unpack)}; {shlex.join(make)}"
    shell = ["sh", "-c", script]
    run(shell if os.geteuid() == 0 else ["fakeroot", "--", *shell])
    run(["chmod", "-R", "u+rwX", str(tree)])  # so that it can be removed without root
