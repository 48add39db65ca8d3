"""The devices that only test guests see."""

import pytest

from innkeeper.devices.debugexit import DebugExit
from innkeeper.devices.testdev import TestIrqLines, TestRegister


@pytest.mark.parametrize(("value", "status"), [(0, 1), (1, 3), (0x10, 0x21), (0x7F, 0xFF), (0x80, 1)])
def test_an_exit_status_is_never_zero(value: int, status: int) -> None:
    statuses: list[int] = []

    DebugExit(statuses.append).write(0, 4, value)

    assert statuses == [status]


def test_the_register_remembers_at_every_size() -> None:
    register = TestRegister(8)

    register.write(0, 4, 0x1122_3344)
    register.write(6, 2, 0xABCD)

    assert register.read(0, 1) == 0x44
    assert register.read(0, 8) == 0xABCD_0000_1122_3344


def test_each_port_is_a_line() -> None:
    driven: list[tuple[int, bool]] = []
    lines = TestIrqLines(lambda gsi, level: driven.append((gsi, level)))

    lines.write(5, 1, 1)
    lines.write(5, 1, 0)

    assert driven == [(5, True), (5, False)]
