"""ACPI fixed hardware."""

import pytest

from innkeeper.devices import acpi_pm as chip
from innkeeper.devices.acpi_pm import AcpiPm
from innkeeper.testing import FakeClock, FakeIrqLine

SECOND = 1_000_000_000


class Board:
    def __init__(self) -> None:
        self.sci = FakeIrqLine()
        self.clock = FakeClock()
        self.asked: list[str] = []
        self.pm = AcpiPm(self.sci, self.clock, self)

    def power_off(self) -> None:
        self.asked.append("off")

    def suspend(self) -> None:
        self.asked.append("suspend")

    def wake(self) -> None:
        self.asked.append("wake")

    def go_to_sleep(self) -> None:
        self.pm.write(chip.CONTROL, 2, chip.SLEEP_ENABLE | chip.SLEEP_TYPE_S3 << 10)


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.mark.parametrize("kind", [chip.SLEEP_TYPE_S5, chip.SOFT_OFF])
def test_entering_s5_powers_off(board: Board, kind: int) -> None:
    board.pm.write(chip.CONTROL, 2, chip.SLEEP_ENABLE | kind << 10)

    assert board.asked == ["off"]


def test_entering_s5_by_bytes_powers_off(board: Board) -> None:
    board.pm.write(chip.CONTROL + 1, 1, (chip.SLEEP_ENABLE | chip.SLEEP_TYPE_S5 << 10) >> 8)

    assert board.asked == ["off"]


@pytest.mark.parametrize("sleep_type", [2, 3, 4, 6, 7])
def test_no_other_sleep_state_does_anything(board: Board, sleep_type: int) -> None:
    board.pm.write(chip.CONTROL, 2, chip.SLEEP_ENABLE | sleep_type << 10)

    assert board.asked == []


def test_the_sleep_type_alone_does_nothing(board: Board) -> None:
    board.pm.write(chip.CONTROL, 2, chip.SLEEP_TYPE_S5 << 10)

    assert board.asked == []
    assert board.pm.read(chip.CONTROL, 2) == chip.SLEEP_TYPE_S5 << 10 | chip.SCI_ENABLED


def test_the_timer_counts_at_its_frequency_and_wraps(board: Board) -> None:
    board.clock.advance(SECOND)
    assert board.pm.read(chip.TIMER, 4) == chip.TIMER_HZ

    board.clock.advance(1200 * SECOND)

    assert board.pm.read(chip.TIMER, 4) == 1201 * chip.TIMER_HZ - (1 << 32)


def test_half_a_turn_of_the_timer_interrupts(board: Board) -> None:
    board.pm.write(chip.ENABLE, 2, chip.TIMER_CARRY)
    board.clock.advance(599 * SECOND)
    assert not board.sci.is_high()

    board.clock.advance(2 * SECOND)
    assert board.sci.is_high()
    assert board.pm.read(chip.STATUS, 2) & chip.TIMER_CARRY
    board.pm.write(chip.STATUS, 2, chip.TIMER_CARRY)
    assert not board.sci.is_high()
    board.clock.advance(600 * SECOND)

    assert board.sci.edges == 2


def test_turning_the_timer_interrupt_off_forgets_its_callback(board: Board) -> None:
    board.pm.write(chip.ENABLE, 2, chip.TIMER_CARRY)
    board.pm.write(chip.ENABLE, 2, 0)

    assert board.clock.waiting == 0


def test_the_power_button_is_noted_and_interrupts_if_enabled(board: Board) -> None:
    board.pm.press_power_button()
    assert board.pm.read(chip.STATUS, 2) == chip.POWER_BUTTON
    assert not board.sci.is_high()

    board.pm.write(chip.ENABLE, 2, chip.POWER_BUTTON)
    assert board.sci.is_high()
    board.pm.write(chip.STATUS, 2, chip.POWER_BUTTON)

    assert not board.sci.is_high()
    assert board.pm.read(chip.STATUS, 2) == 0


def test_status_and_enable_read_as_one_dword(board: Board) -> None:
    board.pm.write(chip.ENABLE, 2, 0xFFFF)
    board.pm.press_power_button()

    assert board.pm.read(0, 4) == chip.ENABLE_BITS << 16 | chip.POWER_BUTTON
    assert board.pm.read(1, 1) == chip.POWER_BUTTON >> 8


def test_the_power_button_wakes(board: Board) -> None:
    board.go_to_sleep()
    board.pm.press_power_button()
    board.pm.press_power_button()

    assert board.asked == ["suspend", "wake"]
    assert board.pm.woken_by() == chip.POWER_BUTTON


def test_the_clock_wakes_only_if_it_is_enabled_to(board: Board) -> None:
    board.go_to_sleep()
    board.pm.note_rtc_alarm()
    assert board.asked == ["suspend"]

    board.pm.write(chip.ENABLE, 2, chip.RTC_ALARM)
    board.pm.note_rtc_alarm()

    assert board.asked == ["suspend", "wake"]


def test_an_event_that_came_before_the_sleep_ends_it_at_once(board: Board) -> None:
    board.pm.write(chip.ENABLE, 2, chip.RTC_ALARM)
    board.pm.note_rtc_alarm()
    assert board.sci.is_high()

    board.go_to_sleep()

    assert board.asked == ["suspend", "wake"]


def test_a_guest_that_wakes_finds_out_why() -> None:
    pm = AcpiPm(FakeIrqLine(), FakeClock(), Board(), chip.RTC_ALARM)

    assert pm.read(chip.STATUS, 2) == chip.WOKEN | chip.RTC_ALARM
    pm.write(chip.STATUS, 2, 0xFFFF)

    assert pm.read(chip.STATUS, 2) == 0
