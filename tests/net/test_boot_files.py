"""Which file of a folder a guest starts from the network."""

from pathlib import Path

from innkeeper.config import NetworkConfig
from innkeeper.net import boot_files
from innkeeper.net.links import serves


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_each_kind_of_firmware_has_its_own(tmp_path: Path) -> None:
    put(tmp_path, "pxelinux.0", "debian-installer/amd64/bootnetx64.efi", "EFI/BOOT/BOOTX64.EFI")
    assert boot_files.first_in(tmp_path, uefi=False) == "pxelinux.0"
    assert boot_files.first_in(tmp_path, uefi=True) == "debian-installer/amd64/bootnetx64.efi"
    assert boot_files.first_in(tmp_path / "debian-installer", uefi=True) is None


def test_a_start_says_what_guests_find(tmp_path: Path) -> None:
    def said(words: str) -> list[str]:
        return serves(NetworkConfig.parse(f"user,{words}"))

    assert said("loopback=yes") == []
    assert said("bootfile=http://a/b") == ["guests boot from http://a/b"]
    assert said(f"tftp={tmp_path},bootfile=x") == [f"guests boot from {tmp_path}"]
    (nothing,) = said(f"tftp={tmp_path}")
    assert "has no boot file that is known: say with bootfile= which it is" in nothing
    put(tmp_path, "pxelinux.0", "grubx64.efi")
    assert said(f"tftp={tmp_path}") == [f"guests boot from {tmp_path}: pxelinux.0, grubx64.efi"]
