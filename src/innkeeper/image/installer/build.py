"""A recipe → an ISO image that starts by BIOS and by UEFI, from packages that apt fetches. Needs xorriso and mtools, and no privileges.

The image starts by El Torito: under a BIOS by ISOLINUX, under UEFI by GRUB from a small FAT file system. Left out: hybrid images for USB sticks.
"""

import gzip
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from innkeeper.errors import ImageError
from innkeeper.image.cpio import Archive
from innkeeper.image.installer import initrd
from innkeeper.image.installer.lists import Lists, lists
from innkeeper.image.installer.recipe import ALONE, AT_ONCE, NAMED, NETBOOT, InstallerRecipe
from innkeeper.image.installer.repository import write_repository
from innkeeper.image.packages import PackageClient, run

TREE = "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64"
PRESEED = "preseed.cfg"
MENU = """\
serial 0 115200
default install
prompt 0
timeout 30
label install
    menu label Install
    kernel /install.amd/vmlinuz
    append initrd=/install.amd/initrd.gz {words}
"""
UEFI_MENU = """\
set timeout=3
menuentry Install {{
    linux /install.amd/vmlinuz {words}
    initrd /install.amd/initrd.gz
}}
"""
UEFI_GRUB = "usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi"  # it finds the disc by .disk/info, and its menu there
UEFI_IMAGE = "boot/grub/efi.img"
UEFI_SECTORS = 12288
BIOS_IMAGE = "isolinux/isolinux.bin"
TOOLS = {"xorriso": "xorriso", "mcopy": "mtools"}
QUIET = "auto=true priority=critical DEBIAN_FRONTEND=text console=ttyS0,115200 --- console=ttyS0,115200"
ASKING = "console=tty0 ---"

Progress = Callable[[str, float], None]
"""What begins now, and how much is done, from 0 to 1."""


def build_installer(recipe: InstallerRecipe, output: Path, progress: Progress = lambda _stage, _done: None) -> Path:
    """Makes the image `output`, which must not exist. Raises `ImageError`; nothing is left then."""
    if missing := [package for tool, package in TOOLS.items() if shutil.which(tool) is None]:
        raise ImageError(f"this host lacks what makes a disc's image: apt-get install {' '.join(missing)}")
    if output.exists():
        raise ImageError(f"{output} exists already; remove it, or choose another name")
    if not output.parent.is_dir():
        raise ImageError(f"cannot write {output}: there is no directory {output.parent}")
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{output.name}.unfinished-", dir=output.parent))
    except OSError as error:
        raise ImageError(f"cannot write {output}: {error.strerror}") from error
    try:
        fill(recipe, scratch, progress).rename(output)
    except OSError as error:
        raise ImageError(f"cannot write {output}: {error.strerror}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return output


def fill(recipe: InstallerRecipe, scratch: Path, progress: Progress) -> Path:
    """Does all the work in one directory, and gives the image in it."""
    tree = scratch / "disc"
    progress("updating package lists", 0.0)
    archive = lists(recipe.suite)
    progress("fetching the installer", 0.1)
    add_installer(recipe, archive, tree, scratch / "parts")
    progress("fetching packages", 0.3)
    packages = archive.fetch(recipe.wanted(), scratch / "packages")
    write_repository(tree, recipe.suite, [*packages, *archive.fetch_alone(list(ALONE), scratch / "alone")])
    progress("writing the image", 0.8)
    describe(recipe, tree)
    add_menu(recipe, tree)
    add_uefi_menu(recipe, tree)
    image = scratch / "disc.iso"
    boot = ["-b", BIOS_IMAGE, "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]
    boot += ["-eltorito-alt-boot", "-e", UEFI_IMAGE, "-no-emul-boot"]
    run(["xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-V", "DEBIAN", "-o", str(image), *boot, str(tree)])
    progress("done", 1.0)
    return image


def add_installer(recipe: InstallerRecipe, archive: Lists, tree: Path, parts: Path) -> None:
    client = PackageClient()
    netboot = client.unpack(client.find(NETBOOT[recipe.suite])) / TREE
    place = tree / "install.amd"
    place.mkdir(parents=True)
    shutil.copyfile(netboot / "linux", place / "vmlinuz")
    added = initrd.additions(archive.fetch_alone(initrd.needed(initrd.kernel_release(netboot / "linux")), parts))
    with (place / "initrd.gz").open("wb") as file:
        file.write((netboot / "initrd.gz").read_bytes())
        file.write(added)
        if recipe.preseed is not None:
            answers = Archive()
            answers.add_file(f"/{PRESEED}", recipe.preseed.encode())
            file.write(gzip.compress(answers.to_bytes(), mtime=0))


def describe(recipe: InstallerRecipe, tree: Path) -> None:
    """What tells the installer that this is its disc, and what is on it."""
    folder = tree / ".disk"
    folder.mkdir()
    (folder / "info").write_text(f"Debian GNU/Linux {recipe.suite} (Innkeeper's disc of a small system)\n")
    (folder / "innkeeper").write_text(f"{recipe.suite}\n")
    (folder / "innkeeper-kernel").write_text(f"{recipe.kernel}\n")
    (folder / "base_installable").touch()
    (folder / "base_components").write_text("main\n")
    (folder / "base_include").write_text("\n".join([*NAMED, *AT_ONCE]) + "\n")
    (folder / "cd_type").write_text("full_cd/single\n")


def add_menu(recipe: InstallerRecipe, tree: Path) -> None:
    """ISOLINUX and the modules that it loads are of one version."""
    client = PackageClient()
    place = tree / "isolinux"
    place.mkdir()
    shutil.copyfile(client.unpack(client.find("isolinux")) / "usr/lib/ISOLINUX/isolinux.bin", place / "isolinux.bin")
    modules = client.unpack(client.find("syslinux-common")) / "usr/lib/syslinux/modules/bios"
    shutil.copyfile(modules / "ldlinux.c32", place / "ldlinux.c32")
    (place / "isolinux.cfg").write_text(MENU.format(words=words_of(recipe)))


def add_uefi_menu(recipe: InstallerRecipe, tree: Path) -> None:
    client = PackageClient()
    grub = client.unpack(client.find("grub-efi-amd64-bin")) / UEFI_GRUB
    image = tree / UEFI_IMAGE
    image.parent.mkdir(parents=True)
    run(["mformat", "-C", "-T", str(UEFI_SECTORS), "-v", "EFI", "-i", str(image), "::"])
    run(["mmd", "-i", str(image), "::/EFI", "::/EFI/BOOT"])
    run(["mcopy", "-i", str(image), str(grub), "::/EFI/BOOT/BOOTX64.EFI"])
    (image.parent / "grub.cfg").write_text(UEFI_MENU.format(words=words_of(recipe)))


def words_of(recipe: InstallerRecipe) -> str:
    """What the installer's kernel is told."""
    return QUIET if recipe.preseed is not None else ASKING
