"""SeaBIOS from Debian's package, to the end of what it can do."""

from pathlib import Path

import pytest

from innkeeper.config import BootConfig, BootDevice, EngineChoice, FirmwareConfig, MachineConfig
from innkeeper.console import MemoryConsole
from innkeeper.machine import Machine, OutcomeKind

pytestmark = pytest.mark.boot
needs_seabios = pytest.mark.skipif(
    not Path("/usr/share/seabios/bios-256k.bin").exists(), reason="SeaBIOS is not there; Debian's package is seabios"
)


@needs_seabios
@pytest.mark.parametrize(("engine", "vcpus"), [("bt", 1), ("bt", 4), ("interp", 2)])
def test_seabios_says_on_the_serial_line_that_there_is_nothing_to_boot(tmp_path: Path, engine: str, vcpus: int) -> None:
    log, console = tmp_path / "log", MemoryConsole()
    config = MachineConfig(
        memory_mib=64, vcpus=vcpus, engine=EngineChoice(engine), firmware=FirmwareConfig(log=log), timeout_s=60
    )
    with Machine(config, console=console) as machine:
        machine.start()
        console.wait_for(b"No bootable device.", timeout_s=60)
    said = log.read_text()
    assert f"Found {vcpus} cpu(s) max supported {vcpus} cpu(s)" in said
    assert "via xsdt" in said
    assert "internal error" not in said.lower()


@needs_seabios
def test_seabios_offers_its_menu_and_boots_only_what_was_ordered(tmp_path: Path) -> None:
    log, console = tmp_path / "log", MemoryConsole()
    boot = BootConfig(order=(BootDevice.NETWORK,), menu=True)
    config = MachineConfig(
        memory_mib=64, engine=EngineChoice.BT, boot=boot, firmware=FirmwareConfig(log=log), timeout_s=60
    )
    with Machine(config, console=console) as machine:
        machine.start()
        console.wait_for(b"No bootable device.", timeout_s=60)
        assert b"Press ESC for boot menu" in console.output
        assert b"Booting from Hard Disk" not in console.output
        machine.stop()
        assert machine.wait(10).kind is OutcomeKind.STOPPED
    assert "1: HALT" in log.read_text()
