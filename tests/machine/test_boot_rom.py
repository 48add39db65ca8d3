"""Who boots from a network card: iPXE from the card's option ROM, and OVMF also by itself."""

from pathlib import Path

import pytest

from innkeeper.config import BootConfig, BootDevice, CardModel, FirmwareConfig, FirmwareKind, MachineConfig
from innkeeper.errors import HostError
from innkeeper.machine.network import boot_rom


def config(kind: FirmwareKind, *order: BootDevice) -> MachineConfig:
    boot = BootConfig(order=order) if order else None
    return MachineConfig(firmware=FirmwareConfig(kind=kind), boot=boot)


@pytest.mark.parametrize(
    ("kind", "model", "refused"),
    [
        (FirmwareKind.BIOS, CardModel.VIRTIO, True),
        (FirmwareKind.UEFI, CardModel.VIRTIO, False),
        (FirmwareKind.UEFI, CardModel.E1000, True),
    ],
)
def test_a_host_without_ipxe_boots_by_what_has_a_driver(
    kind: FirmwareKind, model: CardModel, monkeypatch: pytest.MonkeyPatch, *, refused: bool
) -> None:
    monkeypatch.setattr("innkeeper.machine.network.network_rom", lambda _model: None)
    assert boot_rom(config(kind), model) is None
    if not refused:
        assert boot_rom(config(kind, BootDevice.NETWORK), model) is None
        return
    with pytest.raises(HostError, match="apt-get install ipxe-qemu"):
        boot_rom(config(kind, BootDevice.NETWORK), model)


def test_the_rom_is_the_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rom").write_bytes(b"code")
    monkeypatch.setattr("innkeeper.machine.network.network_rom", lambda _model: tmp_path / "rom")
    assert boot_rom(config(FirmwareKind.UEFI), CardModel.VIRTIO) == b"code"
    assert boot_rom(MachineConfig(kernel=tmp_path / "rom"), CardModel.VIRTIO) is None
