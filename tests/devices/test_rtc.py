"""The MC146818 with a clock that is moved by hand."""

from datetime import UTC, datetime

import pytest

from innkeeper.devices import rtc as chip
from innkeeper.devices.rtc import Rtc
from innkeeper.testing import FakeClock, FakeIrqLine

SECOND = 1_000_000_000
START = datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC)


class Cmos:
    def __init__(self, start: datetime = START, ram: dict[int, int] | None = None) -> None:
        self.clock = FakeClock(int(start.timestamp()) * SECOND)
        self.irq = FakeIrqLine()
        self.rtc = Rtc(self.irq, self.clock, ram)

    def __getitem__(self, index: int) -> int:
        self.rtc.write(0, 1, index)
        return self.rtc.read(1, 1)

    def __setitem__(self, index: int, value: int) -> None:
        self.rtc.write(0, 1, index)
        self.rtc.write(1, 1, value)

    @property
    def date(self) -> tuple[int, ...]:
        registers = (chip.CENTURY, chip.YEAR, chip.MONTH, chip.DAY, chip.HOURS, chip.MINUTES, chip.SECONDS)
        return tuple(self[register] for register in registers)


@pytest.fixture
def cmos() -> Cmos:
    return Cmos()


def test_the_date_reads_as_binary_coded_decimals(cmos: Cmos) -> None:
    assert cmos.date == (0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x58)
    assert cmos[chip.DAY_OF_WEEK] == 5  # a Thursday; Sunday is 1


def test_the_date_reads_as_binary_numbers_if_asked(cmos: Cmos) -> None:
    cmos[chip.B] = chip.B_24_HOURS | chip.B_BINARY

    assert cmos.date == (20, 24, 2, 29, 23, 59, 58)


def test_twelve_hours_have_an_afternoon_bit(cmos: Cmos) -> None:
    cmos[chip.B] = 0
    assert cmos[chip.HOURS] == 0x80 | 0x11

    cmos.clock.advance(2 * SECOND)

    assert cmos[chip.HOURS] == 0x12  # midnight is 12 in the morning


def test_time_goes_on_over_the_end_of_a_leap_february(cmos: Cmos) -> None:
    cmos.clock.advance(2 * SECOND)

    assert cmos.date == (0x20, 0x24, 0x03, 0x01, 0, 0, 0)


def test_a_guest_can_set_the_date(cmos: Cmos) -> None:
    cmos[chip.B] = chip.B_SET | chip.B_24_HOURS
    for register, value in ((chip.YEAR, 0x99), (chip.CENTURY, 0x19), (chip.MONTH, 0x12), (chip.DAY, 0x31)):
        cmos[register] = value
    cmos.clock.advance(60 * SECOND)  # held meanwhile
    cmos[chip.B] = chip.B_24_HOURS
    cmos.clock.advance(3 * SECOND)

    assert cmos.date == (0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x01)


@pytest.mark.parametrize("value", range(0, 256, 5))
@pytest.mark.parametrize("register", sorted(chip.TIME_REGISTERS))
def test_no_value_that_a_guest_writes_breaks_the_clock(register: int, value: int) -> None:
    for mode in (0, chip.B_BINARY, chip.B_24_HOURS, chip.B_SET):
        cmos = Cmos()
        cmos[chip.B] = mode
        cmos[register] = value
        cmos[chip.B] = mode & ~chip.B_SET
        cmos.clock.advance(86400 * SECOND)
        assert all(0 <= part <= 0xFF for part in cmos.date)


def test_the_index_port_cannot_be_read_and_its_nmi_bit_is_no_index(cmos: Cmos) -> None:
    cmos.rtc.write(0, 1, 0x80 | chip.D)

    assert cmos.rtc.read(0, 1) == 0xFF
    assert cmos.rtc.read(1, 1) == chip.D_VALID


def test_a_word_write_sets_index_and_data_at_once(cmos: Cmos) -> None:
    cmos.rtc.write(0, 2, 0xA5 << 8 | 0x40)

    assert cmos[0x40] == 0xA5
    assert cmos.rtc.read(0, 2) == 0xA5FF


def test_ram_keeps_what_the_board_and_the_guest_put_there() -> None:
    cmos = Cmos(ram={0x5F: 3})

    cmos[0x7F] = 0x5A

    assert (cmos[0x5F], cmos[0x7F]) == (3, 0x5A)


def test_an_update_announces_itself(cmos: Cmos) -> None:
    assert not cmos[chip.A] & chip.A_UPDATE_IN_PROGRESS

    cmos.clock.advance(SECOND - 100_000)
    assert cmos[chip.A] & chip.A_UPDATE_IN_PROGRESS

    cmos.clock.advance(100_000)
    assert not cmos[chip.A] & chip.A_UPDATE_IN_PROGRESS


def test_flags_are_set_without_interrupts_and_cleared_by_reading(cmos: Cmos) -> None:
    cmos[chip.C]
    cmos.clock.advance(SECOND)

    assert cmos[chip.C] == chip.C_PERIODIC | chip.C_UPDATE
    assert cmos[chip.C] == 0
    assert cmos.irq.edges == 0


def test_the_update_interrupt_comes_once_a_second(cmos: Cmos) -> None:
    cmos[chip.B] = chip.B_24_HOURS | chip.B_UPDATE
    for expected in (1, 2, 3):
        cmos.clock.advance(SECOND)
        assert cmos.irq.is_high()
        assert cmos.irq.edges == expected
        assert cmos[chip.C] & (chip.C_IRQ | chip.C_UPDATE) == chip.C_IRQ | chip.C_UPDATE
        assert not cmos.irq.is_high()


def test_an_unread_interrupt_needs_no_more_callbacks(cmos: Cmos) -> None:
    cmos[chip.B] = chip.B_24_HOURS | chip.B_PERIODIC
    cmos.clock.advance(100 * SECOND)

    assert cmos.irq.edges == 1
    assert cmos.clock.waiting == 0


def test_the_periodic_interrupt_follows_its_rate(cmos: Cmos) -> None:
    cmos[chip.A] = chip.A_RUNNING | 0x0F  # 2 Hz
    cmos[chip.B] = chip.B_24_HOURS | chip.B_PERIODIC
    ticks = 0
    for _ in range(300):
        cmos.clock.advance(SECOND // 100)
        ticks += bool(cmos[chip.C] & chip.C_PERIODIC)

    assert ticks == 6


def test_the_alarm_goes_off_at_its_time(cmos: Cmos) -> None:
    cmos[chip.HOURS_ALARM], cmos[chip.MINUTES_ALARM], cmos[chip.SECONDS_ALARM] = 0x00, 0x00, 0x03
    cmos[chip.B] = chip.B_24_HOURS | chip.B_ALARM

    cmos.clock.advance(4 * SECOND)
    assert not cmos.irq.is_high()
    cmos.clock.advance(SECOND)

    assert cmos.irq.is_high()
    assert cmos[chip.C] & chip.C_ALARM


def test_an_alarm_that_matches_anything_goes_off_every_second(cmos: Cmos) -> None:
    for register in chip.ALARM_REGISTERS:
        cmos[register] = 0xFF
    cmos[chip.B] = chip.B_24_HOURS | chip.B_ALARM

    for expected in (1, 2, 3, 4):
        cmos.clock.advance(SECOND)
        assert cmos.irq.edges == expected
        assert cmos[chip.C] & chip.C_ALARM


def test_an_alarm_that_never_matches_never_comes(cmos: Cmos) -> None:
    cmos[chip.HOURS_ALARM] = 0x55  # 55 o'clock
    cmos[chip.B] = chip.B_24_HOURS | chip.B_ALARM

    cmos.clock.advance(2 * 86400 * SECOND)

    assert cmos.irq.edges == 0
    assert not cmos[chip.C] & chip.C_ALARM


def test_a_stopped_divider_stops_the_interrupts(cmos: Cmos) -> None:
    cmos[chip.A] = 0x70 | 6  # divider in reset
    cmos[chip.B] = chip.B_24_HOURS | chip.B_UPDATE | chip.B_PERIODIC

    cmos.clock.advance(10 * SECOND)

    assert cmos.irq.edges == 0
    assert cmos.clock.waiting == 0


def test_the_battery_keeps_the_date_and_the_ram(cmos: Cmos) -> None:
    cmos[chip.HOURS], cmos[0x40] = 0x05, 0x5A
    cmos[chip.B] = chip.B_24_HOURS | chip.B_UPDATE
    kept = cmos.rtc.save()
    cmos.clock.advance(2 * SECOND)

    asleep = Rtc(cmos.irq, cmos.clock, {0x5F: 1}, kept)
    again = Rtc(FakeIrqLine(), cmos.clock, {}, asleep.save().after_reset())

    cmos.rtc = asleep
    assert (cmos[chip.HOURS], cmos[chip.SECONDS], cmos[0x40], cmos[0x5F]) == (0x06, 0x00, 0x5A, 1)
    assert cmos[chip.B] == chip.B_24_HOURS | chip.B_UPDATE
    cmos.rtc = again
    assert (cmos[chip.HOURS], cmos[0x40], cmos[chip.B], cmos[chip.C]) == (0x06, 0x5A, chip.B_24_HOURS, 0)


def test_an_alarm_set_before_a_sleep_still_comes_after_it(cmos: Cmos) -> None:
    cmos[chip.HOURS_ALARM], cmos[chip.MINUTES_ALARM], cmos[chip.SECONDS_ALARM] = 0x00, 0x00, 0x03
    cmos[chip.B] = chip.B_24_HOURS | chip.B_ALARM
    line = FakeIrqLine()

    Rtc(line, cmos.clock, {}, cmos.rtc.save())
    cmos.clock.advance(5 * SECOND)

    assert line.is_high()
