"""OVMF from Debian's package: to the shell, with variables that stay."""

from pathlib import Path

import pytest

from innkeeper.config import DiskConfig, EngineChoice, FirmwareConfig, FirmwareKind, MachineConfig
from innkeeper.console import MemoryConsole
from innkeeper.machine import Machine, OutcomeKind
from tests.boot.inn import ended

pytestmark = pytest.mark.boot
CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
DISC = Path("/usr/lib/memtest86+/memtest86+x64.iso")
needs_ovmf = pytest.mark.skipif(not CODE.exists(), reason="OVMF is not there; Debian's package is ovmf")


def run_in_shell(variables: Path, *commands: tuple[bytes, bytes]) -> None:
    """Types commands at the UEFI shell, each with what it answers."""
    console = MemoryConsole()
    config = MachineConfig(
        memory_mib=256,
        engine=EngineChoice.BT,
        firmware=FirmwareConfig(kind=FirmwareKind.UEFI, vars=variables),
        timeout_s=120,
        no_reboot=True,
    )
    with Machine(config, console=console) as machine:
        machine.start()
        console.wait_for(b"to skip", timeout_s=90)
        console.send(b"\x1b")
        console.wait_for(b"Shell> ", timeout_s=30)
        for command, answer in commands:
            console.send(command + b"\r")
            console.wait_for(answer, timeout_s=30)
        console.send(b"reset -s\r")
        assert ended(machine, console, 60).kind is OutcomeKind.POWERED_OFF


@needs_ovmf
def test_the_shell_keeps_variables_in_the_machines_file(tmp_path: Path) -> None:
    variables = tmp_path / "vars.fd"
    run_in_shell(
        variables,
        (b"setvar kept -guid 11111111-2222-3333-4444-555555555555 -nv -bs =0x1234", b"Shell> "),
        (b"smbiosview -t 1", b"Innkeeper"),
    )
    run_in_shell(variables, (b"setvar kept -guid 11111111-2222-3333-4444-555555555555", b"34 12"))


@needs_ovmf
@pytest.mark.skipif(not DISC.exists(), reason="memtest86+'s disc is not there; Debian's package is memtest86+")
def test_a_disc_starts_by_uefi() -> None:
    console = MemoryConsole()
    config = MachineConfig(
        memory_mib=256,
        engine=EngineChoice.BT,
        disks=(DiskConfig.cdrom(DISC),),
        firmware=FirmwareConfig(kind=FirmwareKind.UEFI),
        timeout_s=120,
    )
    with Machine(config, console=console) as machine:
        machine.start()
        console.wait_for(b"BdsDxe: starting Boot0001", timeout_s=90)
        console.wait_for(b"Pci(0x1,0x1)/Ata(Secondary,Master,0x0)", timeout_s=10)
