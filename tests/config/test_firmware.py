"""The words of --firmware and --boot."""

from pathlib import Path

import pytest

from innkeeper.config import BootConfig, BootDevice, FirmwareConfig, FirmwareKind, MachineConfig
from innkeeper.errors import ConfigError


def test_firmware_reads_virt_installs_words() -> None:
    assert FirmwareConfig.parse("bios") == FirmwareConfig()
    assert FirmwareConfig.parse("uefi,vars=a.fd,path=b.fd") == FirmwareConfig(
        kind=FirmwareKind.UEFI, vars=Path("a.fd"), path=Path("b.fd")
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("coreboot", "--firmware has kind=coreboot; it must be one of bios, uefi"),
        ("bios,vars=a.fd", "firmware bios has vars=a.fd; only uefi keeps variables in a file"),
        ("uefi,varz=a", "did you mean 'vars'"),
    ],
)
def test_firmware_that_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        FirmwareConfig.parse(text)


def test_boot_reads_virt_installs_words() -> None:
    assert BootConfig.parse("hd,cdrom") == BootConfig(order=(BootDevice.HD, BootDevice.CDROM))
    assert BootConfig.parse("menu=on") == BootConfig(menu=True)
    assert BootConfig.parse("network,menu=off") == BootConfig(order=(BootDevice.NETWORK,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fd", "--boot names 'fd'; devices to boot from are cdrom, hd, network"),
        ("hd,hd", "each kind of device is named once"),
        ("hd,menu=perhaps", "--boot has menu=perhaps; it must be yes or no"),
        ("hd,men=on", "did you mean 'menu'"),
    ],
)
def test_a_boot_order_that_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        BootConfig.parse(text)


def test_a_machine_without_a_kernel_starts_seabios() -> None:
    assert MachineConfig().started_by == FirmwareConfig()
    assert MachineConfig(kernel=Path("vmlinuz")).started_by is None


def test_uefi_starts_a_kernel_that_it_is_handed() -> None:
    uefi = FirmwareConfig(kind=FirmwareKind.UEFI)
    config = MachineConfig(kernel=Path("vmlinuz"), firmware=uefi)
    assert config.started_by is uefi
    assert config.shows


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"initrd": Path("i")}, "initrd is i, and there is no kernel"),
        ({"append": "quiet"}, "append is 'quiet', and there is no kernel"),
        ({"kernel": Path("k"), "firmware": FirmwareConfig()}, "kernel is k, which firmware bios cannot start"),
        ({"kernel": Path("k"), "boot": BootConfig()}, "leave out the boot order"),
    ],
)
def test_a_kernel_and_firmware_exclude_each_other(keys: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        MachineConfig(**keys)  # type: ignore[arg-type]
