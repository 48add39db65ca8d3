"""The serial line of a running machine, for those outside: where it is reached, and whether the guest uses it."""

from collections.abc import Callable, Mapping
from pathlib import Path  # noqa: F401 - in the example below
from typing import Any

from innkeeper.config import MachineConfig
from innkeeper.config.console import ConsoleKind
from innkeeper.console import Console
from innkeeper.console.pty import PtyConsole
from innkeeper.console.unix import UnixConsole
from innkeeper.devices.uart import Uart
from innkeeper.errors import HostError
from innkeeper.machine.control import BadRequest, Command

SERIAL, SCREEN = "console=ttyS0", "console=tty0"


def with_console(config: MachineConfig, *, is_linux: bool) -> str:
    """The kernel's command line; a Linux that is told of no console gets the serial one, beside the screen if it has any.

    >>> with_console(MachineConfig(kernel=Path("vmlinuz"), append="quiet"), is_linux=True)
    'quiet console=ttyS0'
    """
    said = config.append
    told = any(word.startswith("console=") for word in said.split())
    if told or not is_linux or config.serial.kind is ConsoleKind.NONE:
        return said
    return " ".join([*([said] if said else []), *([SCREEN] if config.shows else []), SERIAL])


class SerialLine:
    """What the control socket says and does about it."""

    def __init__(self, config: MachineConfig, console: Console, uart: Callable[[], Uart | None]) -> None:
        self._config, self._console, self._uart = config, console, uart

    def commands(self) -> dict[str, Command]:
        return {"console": self._describe, "hold-console": self._hold}

    def _describe(self, _asked: Mapping[str, Any]) -> object:
        uart = self._uart()
        console = self._console
        return {
            "kind": self._config.serial.kind.value,
            "path": str(console.path) if isinstance(console, UnixConsole | PtyConsole) else None,
            "listens": uart is not None and uart.is_listened_to,
            "screen": self._config.shows,
        }

    def _hold(self, asked: Mapping[str, Any]) -> object:
        process, force, opener = asked.get("process"), asked.get("force", False), asked.get("opener")
        if not isinstance(process, int) or not isinstance(force, bool) or not isinstance(opener, int | None):
            raise BadRequest("hold-console needs a process, perhaps its opener, and whether by force")
        if isinstance(self._console, UnixConsole):
            self._console.hold(process, opener=opener, force=force)
        elif not isinstance(self._console, PtyConsole):
            raise HostError(
                f"the serial console is {self._config.serial.kind} of its inn run; --console pty or unix:PATH there "
                "lets others in"
            )
        return self._describe(asked)
