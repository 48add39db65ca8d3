"""Where an installer's kernel is: on discs and in folders, as distributions have them."""

import gzip
import subprocess
from pathlib import Path

import pytest

from innkeeper.errors import ConfigError
from innkeeper.image.iso9660 import write_disc
from innkeeper.manager.installation.media import Location, boot_files, fetch, system_of


def tree(folder: Path, *places: str, **contents: str) -> Location:
    for place in places:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(f"content of {place}")
    for name, words in contents.items():
        place = {"treeinfo": ".treeinfo", "info": ".disk/info"}[name]
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_text(words)
    return Location(path=folder)


def found(location: Location) -> tuple[str, str]:
    with location.open() as opened:
        return boot_files(location, opened)


@pytest.mark.parametrize(
    ("kernel", "initrd"),
    [
        ("install.amd/vmlinuz", "install.amd/initrd.gz"),
        ("images/pxeboot/vmlinuz", "images/pxeboot/initrd.img"),
        ("casper/vmlinuz", "casper/initrd"),
        ("boot/x86_64/loader/linux", "boot/x86_64/loader/initrd"),
    ],
)
def test_distributions_are_known_by_their_places(tmp_path: Path, kernel: str, initrd: str) -> None:
    assert found(tree(tmp_path, kernel, initrd)) == (kernel, initrd)


def test_a_treeinfo_says_where_they_are(tmp_path: Path) -> None:
    words = "[general]\nfamily = Fedora\n[images-x86_64]\nkernel = here/k\ninitrd = here/i\n"
    places = ("here/k", "here/i", "isolinux/vmlinuz", "isolinux/initrd.img")
    assert found(tree(tmp_path, *places, treeinfo=words)) == ("here/k", "here/i")
    assert found(tree(tmp_path, treeinfo="no [ini\nat all")) == ("isolinux/vmlinuz", "isolinux/initrd.img")


def test_the_places_can_be_given(tmp_path: Path) -> None:
    tree(tmp_path, "k", "i")
    assert found(Location(path=tmp_path, kernel="k", initrd="i")) == ("k", "i")
    with pytest.raises(ConfigError, match="has other, which is not in"):
        found(Location(path=tmp_path, kernel="other", initrd="i"))
    with pytest.raises(ConfigError, match="no installer that is known; say where its kernel is"):
        found(Location(path=tmp_path))


def test_a_disc_is_looked_into(tmp_path: Path) -> None:
    write_disc(tmp_path / "disc.iso", "DISC", {"k": b"kernel", "i": b"initrd"})
    location = Location(path=tmp_path / "disc.iso", kernel="k", initrd="i")
    assert fetch(location, tmp_path, []) == (tmp_path / "kernel", tmp_path / "initrd")
    assert (tmp_path / "kernel").read_bytes() == b"kernel"


def test_files_are_put_into_the_root_of_the_ram_disk(tmp_path: Path) -> None:
    (tmp_path / "preseed.cfg").write_text("answers")
    (tmp_path / "run").write_text("#!/bin/sh")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "tree").mkdir()
    location = tree(tmp_path / "tree", "install.amd/vmlinuz")
    (tmp_path / "tree/install.amd/initrd.gz").write_bytes(b"five!")
    fetch(location, tmp_path, [tmp_path / "preseed.cfg", tmp_path / "run"])
    whole = (tmp_path / "initrd").read_bytes()
    assert whole[:8] == b"five!\0\0\0"
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["cpio", "-id", "--quiet"], input=gzip.decompress(whole[8:]), cwd=out, check=True)
    assert (out / "preseed.cfg").read_text() == "answers"
    assert (out / "run").stat().st_mode & 0o777 == 0o755


def test_a_file_that_cannot_be_put_there_is_named(tmp_path: Path) -> None:
    location = tree(tmp_path / "tree", "install.amd/vmlinuz", "install.amd/initrd.gz")
    with pytest.raises(ConfigError, match="nothing, which cannot be read: No such file"):
        fetch(location, tmp_path, [tmp_path / "nothing"])


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ('Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST', "debian12"),
        ("Debian GNU/Linux bookworm (Innkeeper's disc of a small system)", "debian12"),
        ('Ubuntu-Server 22.04.3 LTS "Jammy Jellyfish" - Release amd64', "ubuntu22.04"),
        ("Something else", None),
        ("", None),
    ],
)
def test_a_disc_says_what_is_on_it(tmp_path: Path, info: str, name: str | None) -> None:
    with tree(tmp_path, info=info).open() as opened:
        assert system_of(opened) == name
