"""Port 92h and the firmware's debug console."""

from innkeeper.devices.debugcon import DebugConsole
from innkeeper.devices.port92 import Port92


def test_port_92_remembers_a20_and_resets_when_bit_0_rises() -> None:
    resets: list[int] = []
    port = Port92(lambda: resets.append(1))
    assert port.read(0, 1) == 2
    port.write(0, 1, 0xFC)
    assert (port.read(0, 1), resets) == (0, [])
    port.write(0, 1, 3)
    port.write(0, 1, 3)
    assert resets == [1]


def test_the_debug_console_is_found_by_what_it_reads_as() -> None:
    said: list[bytes] = []
    console = DebugConsole(said.append)
    console.write(0, 1, ord("a"))
    assert (console.read(0, 1), said) == (0xE9, [b"a"])
