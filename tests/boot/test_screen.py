"""What guests show and what is typed at them: firmware's screen, a kernel's console on it, and a person's terminal."""

import signal
from contextlib import suppress
from pathlib import Path

import pytest

from innkeeper import ConfigError, HostError, Machine, MachineConfig, MemoryConsole
from innkeeper.cli.status import Status
from innkeeper.config import EngineChoice, GraphicsConfig, GraphicsKind, VideoModel
from innkeeper.host.packages import VIDEO_BIOS
from innkeeper.image import KernelImage
from tests.engines import fastest_software

from .conftest import Initramfs
from .inn import LIMIT_S, Terminal

pytestmark = [
    pytest.mark.boot,
    pytest.mark.slow,
    pytest.mark.skipif(not VIDEO_BIOS.exists(), reason="no Debian package seabios"),
]

ON_SCREEN = "exec </dev/tty1 >/dev/tty1 2>&1; cd /root; sh -l; poweroff -f"
NOTHING_TO_BOOT = "No bootable device"


def firmware_options() -> list[str]:
    return ["--memory", "64", "--engine", fastest_software()]


def test_firmware_says_on_the_screen_that_nothing_boots() -> None:
    config = MachineConfig(memory_mib=64, engine=EngineChoice(fastest_software()), timeout_s=LIMIT_S)
    with Machine(config, console=MemoryConsole()) as machine:
        machine.start()
        said = machine.desk.wait_for_text(NOTHING_TO_BOOT, timeout_s=60)
        picture = machine.screenshot()

    assert said.startswith("SeaBIOS (version ")
    assert (picture.width, picture.height) == (720, 400)
    assert set(picture.rgb) == {0x00, 0xAA}


def test_a_shell_on_the_screen_is_typed_at(debian: KernelImage, initramfs: Initramfs) -> None:
    config = MachineConfig(
        kernel=debian.vmlinuz,
        initrd=initramfs(ON_SCREEN),
        append="console=tty0 quiet cryptomgr.notests",
        video=VideoModel.VGA,
        engine=EngineChoice(fastest_software()),
        timeout_s=LIMIT_S,
    )
    with Machine(config, console=MemoryConsole()) as machine:
        machine.start()
        machine.desk.wait_for_text("/root #", timeout_s=LIMIT_S)
        machine.desk.type("echo $((6 * 7)) '{Sh|ft}~' \"#\" | tr a-z A-Z\n")
        said = machine.desk.wait_for_text("\n42 {SH|FT}~ #\n", timeout_s=60)
        with suppress(HostError):  # it may be off before Enter is up again
            machine.desk.type("exit\n")
        outcome = machine.wait(60)

    assert "echo $((6 * 7)) '{Sh|ft}~' \"#\" | tr a-z A-Z" in said
    assert outcome.kind.name == "POWERED_OFF"


def test_a_terminal_shows_firmwares_screen_and_is_as_it_was_afterwards() -> None:
    with Terminal(*firmware_options()) as terminal:
        terminal.line.wait_for(NOTHING_TO_BOOT, limit_s=60)
        assert terminal.modes() != terminal.modes_before

        terminal.line.type("\x03")  # is the guest's
        terminal.line.type("\x1d")

        assert terminal.status() == Status.INTERRUPTED
        assert terminal.modes() == terminal.modes_before
        assert terminal.line.wait_for("\\?1049l", limit_s=10)
        assert terminal.has_left_nothing()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_restores_the_terminal_too(number: signal.Signals) -> None:
    with Terminal(*firmware_options(), "--graphics", "terminal") as terminal:
        terminal.line.wait_for("SeaBIOS", limit_s=60)

        terminal.signal(number)

        assert terminal.status() == -number
        assert terminal.modes() == terminal.modes_before


def test_a_shell_is_used_at_the_terminal(debian: KernelImage, initramfs: Initramfs) -> None:
    options = ["--kernel", str(debian.vmlinuz), "--initrd", str(initramfs(ON_SCREEN)), "--graphics", "terminal"]
    append = "console=tty0 quiet cryptomgr.notests"
    with Terminal(*options, "--append", append, "--engine", fastest_software()) as terminal:
        terminal.line.wait_for("/root #", limit_s=60)
        terminal.line.type("echo $((6 * 7))$((6 * 7))\r")
        terminal.line.wait_for("4242")
        terminal.line.type("exit\r")

        assert terminal.status() == Status.DONE
        assert terminal.modes() == terminal.modes_before


def test_graphics_without_a_card_cannot_be() -> None:
    with pytest.raises(ConfigError, match="video is none"):
        MachineConfig(
            kernel=Path("vmlinuz"), video=VideoModel.NONE, graphics=(GraphicsConfig(kind=GraphicsKind.TERMINAL),)
        )
