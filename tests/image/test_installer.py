"""A disc that installs Debian: what is on it. Whether it installs, `scripts/soak install` says."""

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

from innkeeper.errors import ConfigError, ImageError
from innkeeper.image.cpio import Archive
from innkeeper.image.installer import InstallerRecipe, build_installer
from innkeeper.image.installer.build import TOOLS
from innkeeper.image.installer.initrd import add_steps, kernel_release
from innkeeper.image.installer.repository import write_repository
from innkeeper.image.iso9660 import Disc
from innkeeper.manager.installation.media import Location, boot_files, system_of

PACKAGES = ("base-files", "grub-pc", "grub-efi-amd64", "grub-efi-amd64-bin", "efibootmgr", "linux-image-cloud-amd64")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ({"suite": "potato"}, "the release is 'potato'"),
        ({"kernel": "linux; rm"}, "'linux; rm' is not the name of a package"),
        ({"packages": ("?all",)}, "'?all' is not the name"),
    ],
)
def test_what_no_disc_can_hold_is_refused(words: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        InstallerRecipe(**words)  # type: ignore[arg-type]
    assert complaint in str(refused.value)


def test_what_is_no_kernel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "linux").write_bytes(b"\xff" * 600)
    with pytest.raises(ImageError, match="is no Linux kernel"):
        kernel_release(tmp_path / "linux")


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb")
def test_a_repository_describes_its_packages(tmp_path: Path) -> None:
    control = tmp_path / "root" / "DEBIAN"
    control.mkdir(parents=True)
    control.joinpath("control").write_text(
        "Package: one\nVersion: 1:2\nArchitecture: all\nMaintainer: me <me@example.org>\nDescription: one\n"
    )
    package = tmp_path / "one_1%3a2_all.deb"
    subprocess.run(["dpkg-deb", "--build", tmp_path / "root", package], check=True, capture_output=True)
    write_repository(tmp_path / "disc", "bookworm", [package, package])
    index = (tmp_path / "disc/dists/bookworm/main/binary-amd64/Packages").read_text()
    assert index.endswith("\n\n")  # the last one too: debootstrap overlooks it otherwise
    assert index.count("Package: one\n") == 2
    assert "Filename: pool/main/one_1_2_all.deb\n" in index
    assert (tmp_path / "disc/pool/main/one_1_2_all.deb").exists()
    release = (tmp_path / "disc/dists/bookworm/Release").read_text()
    assert f" {len(index)} main/binary-amd64/Packages\n" in release


def test_our_steps_are_shell_scripts_in_the_installers_menu() -> None:
    archive, stanzas = Archive(), list[str]()
    add_steps(archive, stanzas)
    menu = [line for stanza in stanzas for line in stanza.splitlines() if line.startswith("Installer-Menu-Item")]
    assert menu == ["Installer-Menu-Item: 1300", "Installer-Menu-Item: 5000", "Installer-Menu-Item: 7900"]
    folder = Path(__file__).resolve().parents[2] / "src/innkeeper/image/installer/steps"
    for script in folder.glob("*.sh"):
        subprocess.run(["sh", "-n", script], check=True)


@pytest.mark.slow
def test_a_disc_has_an_installer_and_packages(tmp_path: Path) -> None:
    for tool in TOOLS:
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}")
    disc = tmp_path / "debian.iso"
    try:
        build_installer(InstallerRecipe(preseed="d-i x/y string z\n"), disc)
    except ImageError as error:
        pytest.skip(f"no packages: {error}")
    assert [path.name for path in tmp_path.iterdir()] == ["debian.iso"]
    with Disc(disc) as tree:
        assert system_of(tree) == "debian12"
        _, initrd = boot_files(Location(path=disc), tree)
        assert tree.has("isolinux/isolinux.bin")
        assert "linux /install.amd/vmlinuz auto=true" in (tree.text("boot/grub/grub.cfg") or "")
        assert tree.has("boot/grub/efi.img")
        index = tree.text("dists/bookworm/main/binary-amd64/Packages") or ""
        assert [f"Package: {name}\n" in index for name in PACKAGES] == [True] * len(PACKAGES)
        tree.extract(initrd, tmp_path / "initrd")
    whole = gzip.decompress((tmp_path / "initrd").read_bytes())  # all of its archives
    assert b"d-i x/y string z" in whole
    assert b"Package: innkeeper-finish" in whole
    with pytest.raises(ImageError, match="exists already"):
        build_installer(InstallerRecipe(), disc)
