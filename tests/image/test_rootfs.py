"""Debian disks: what is put where, what is refused, and that nothing is left of a failure."""

import shutil
import struct
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from innkeeper.cli.rootfs import packed
from innkeeper.errors import ConfigError, ImageError
from innkeeper.image.rootfs import RootfsRecipe, build, build_rootfs, debian
from innkeeper.image.rootfs.layout import BIOS_START, MIB, SECTOR, Layout, write_grub
from innkeeper.storage import probe

needs_sfdisk = pytest.mark.skipif(shutil.which("sfdisk") is None, reason="no sfdisk on this host: package fdisk")


def recipe(**changes: object) -> RootfsRecipe:
    return RootfsRecipe(**{"password": "secret", **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size_gib": 0.5}, "size is 0.5 GiB; it must be between 1 and 65536"),
        ({"hostname": "a b"}, "hostname is 'a b'"),
        ({"hostname": "x$(reboot)"}, "hostname is"),
        ({"suite": "../etc"}, "suite is '../etc'"),
        ({"kernel": "-o=x"}, "package is '-o=x'"),
        ({"packages": ("vim; reboot",)}, "package is 'vim; reboot'"),
        ({"password": ""}, "password is empty"),
        ({"password": "a\nb"}, "password is empty"),
        ({"ssh_keys": ("ssh-ed25519 A\nssh-ed25519 B",)}, "more than one line"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("(", r"\(").replace("$", r"\$")):
        recipe(**changes)


def test_each_wish_brings_its_package() -> None:
    packages = recipe(packages=("vim", "udev"), ssh_keys=("ssh-ed25519 A",), cloud_init={}).all_packages()
    assert {"vim", "openssh-server", "cloud-init", "linux-image-cloud-amd64", "grub-pc-bin"} <= set(packages)
    assert packages.count("udev") == 1


def test_the_password_goes_in_by_a_private_file_and_not_by_a_command_line(tmp_path: Path) -> None:
    hooks = debian.write_scripts(recipe(password="geheim"), uuid4(), tmp_path)
    assert not any("geheim" in hook for hook in hooks)
    holders = [file for file in tmp_path.iterdir() if "geheim" in file.read_text()]
    assert [file.stat().st_mode & 0o777 for file in holders] == [0o600]


def test_the_system_has_a_locale_so_that_cloud_init_makes_none(tmp_path: Path) -> None:
    """cloud-init would else have en_US.UTF-8 be generated, which /etc/locale.gen does not list, and fail."""
    debian.write_scripts(recipe(), uuid4(), tmp_path)
    scripts = [file.read_text() for file in tmp_path.iterdir()]
    assert any("\necho LANG=C.UTF-8 >/etc/default/locale\n" in script for script in scripts)


@needs_sfdisk
def test_the_partitions_follow_each_other_and_the_root_is_the_last(tmp_path: Path) -> None:
    image, layout, uuid = tmp_path / "disk", Layout(1024 * MIB), uuid4()
    with image.open("wb") as file:
        file.truncate(layout.size)
    layout.write_table(image, uuid)
    shown = subprocess.run(["sfdisk", "--dump", image], capture_output=True, text=True, check=True).stdout
    rows = [line for line in shown.splitlines() if "start=" in line]
    places = [(int(row.split("start=")[1].split(",")[0]), int(row.split("size=")[1].split(",")[0])) for row in rows]
    assert places == [
        (2048, 2048),
        tuple(value // SECTOR for value in layout.esp),
        tuple(value // SECTOR for value in layout.root),
    ]
    assert f"uuid={uuid}".upper() in rows[2].upper()


def test_grub_is_told_where_its_core_is_and_the_partition_table_stays(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    image.write_bytes(b"\xee" * (3 * MIB))
    core = bytes(range(256)) * 5  # three sectors, the last one half full
    write_grub(image, b"\x11" * SECTOR, core)
    data = image.read_bytes()
    assert struct.unpack_from("<Q", data, 0x5C) == (BIOS_START // SECTOR,)
    assert data[0x66:0x68] == b"\x90\x90"
    assert data[440:SECTOR] == b"\xee" * 72
    assert struct.unpack_from("<QHH", data, BIOS_START + 0x1F4) == (BIOS_START // SECTOR + 1, 2, 0x820)
    assert data[BIOS_START + SECTOR : BIOS_START + len(core)] == core[SECTOR:]


def test_a_file_that_is_there_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "require_tools", lambda: None)
    output = tmp_path / "disk"
    output.write_text("mine")
    with pytest.raises(ImageError, match="exists already"):
        build_rootfs(recipe(), output)
    assert output.read_text() == "mine"


def test_a_failure_is_told_in_the_tools_own_words_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "bin" / "mmdebstrap"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'I: running apt-get update...' >&2\necho 'E: no such suite' >&2\nexit 25\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    monkeypatch.setattr(build, "require_tools", lambda: None)
    (tmp_path / "out").mkdir()
    stages: list[str] = []
    with pytest.raises(ImageError, match="mmdebstrap failed: no such suite"):
        build_rootfs(recipe(), tmp_path / "out" / "disk", lambda stage, _done: stages.append(stage))
    assert stages == ["running apt-get update"]
    assert not list((tmp_path / "out").iterdir())


def test_missing_tools_are_named_by_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ImageError, match="apt-get install dosfstools e2fsprogs"):
        build.require_tools()


def test_the_image_is_of_the_format_that_was_asked_for(tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(b"root" * 1024 + bytes(1 * MIB))
    made = packed("qcow2")(raw)
    assert (made.read_bytes()[:4], raw.exists(), probe(made)) == (b"QFI\xfb", False, "qcow2")
    assert packed("raw")(made) == made
