"""The outside of a machine whose guest the test plays: screen, keys, serial port and control socket."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import Mock

from innkeeper._core import MemoryScreen
from innkeeper.config import ConsoleConfig, GraphicsConfig, MachineConfig, VideoModel
from innkeeper.config.console import ConsoleKind
from innkeeper.console import open_console
from innkeeper.devices.uart import Uart
from innkeeper.machine.desk import Desk
from innkeeper.machine.front import Front
from innkeeper.machine.serial import SerialLine
from tests.display.rfb.conftest import Sink


@dataclass(frozen=True, slots=True)
class Outside:
    uart: Uart
    screen: MemoryScreen
    sink: Sink
    typed: bytearray  # at the serial port

    def says(self, words: bytes) -> None:
        for byte in words:
            self.uart.write(0, 1, byte)


@contextmanager
def machine(
    kind: ConsoleKind = ConsoleKind.UNIX, *graphics: GraphicsConfig, video: VideoModel | None = None
) -> Iterator[Outside]:
    """Named one, in the folder that XDG_RUNTIME_DIR says. It has a screen if `graphics` or `video` give it one."""
    path = Path(os.environ["XDG_RUNTIME_DIR"]) / "line" if kind is ConsoleKind.UNIX else None
    serial = ConsoleConfig(kind=kind, path=path)
    config = MachineConfig(kernel=Path("vmlinuz"), name="one", console=serial, graphics=graphics, video=video)
    console = open_console(serial)
    outside = Outside(Uart(Mock(), console), MemoryScreen(), Sink(), bytearray())
    desk = Desk(outside.screen.screen if config.shows else None)
    desk.plug(outside.sink)
    front = Front(config, desk, None, SerialLine(config, console, lambda: outside.uart).commands())

    def receive(data: bytes) -> None:
        outside.typed.extend(data)
        outside.uart.receive(data)

    console.start(receive, lambda: None)
    front.start()
    try:
        yield outside
    finally:
        front.close()
        console.close()
