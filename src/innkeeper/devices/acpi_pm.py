"""ACPI fixed hardware: PM1a events and control, the power-management timer, and general-purpose events.

Spec: ACPI 6.5, 4.8.3, 4.8.4 and 16.1. Offsets: 0 PM1_STS, 2 PM1_EN, 4 PM1_CNT, 8 PM_TMR, 12 GPE0_STS, 14 GPE0_EN as on the PIIX4. The
machine is always in ACPI mode (no SMI_CMD), so SCI_EN reads as one; what follows in the PIIX4's block reads as zero. Left out: sleep
states other than S3 and S5, waking by a general-purpose event.
"""

from threading import Lock
from typing import Protocol

from innkeeper.bus import Clock, Fields, IrqLine, State, Timer
from innkeeper.bus.state import FLAG, number

STATUS, ENABLE, CONTROL, TIMER, GPE_STATUS, GPE_ENABLE = 0, 2, 4, 8, 12, 14
GPE_BYTES = 4  # status and enable bits of 16 events

# PM1_STS and PM1_EN: 15 woken (status only) │ 10 RTC │ 9 sleep button │ 8 power button │ 5 global lock │ 0 timer carry
TIMER_CARRY = 1 << 0
GLOBAL_LOCK = 1 << 5
POWER_BUTTON = 1 << 8
RTC_ALARM = 1 << 10
WOKEN = 1 << 15
ENABLE_BITS = TIMER_CARRY | GLOBAL_LOCK | POWER_BUTTON | RTC_ALARM
# PM1_CNT: 13 SLP_EN (write only) │ 12-10 SLP_TYP │ 2 GBL_RLS │ 1 BM_RLD │ 0 SCI_EN
SCI_ENABLED = 1 << 0
BUS_MASTER_RELOAD = 1 << 1
SLEEP_TYPE_SHIFT = 10
SLEEP_ENABLE = 1 << 13

SLEEP_TYPE_S3, SLEEP_TYPE_S5 = 1, 5  # what the DSDT's \\_S3 and \\_S5 objects say
SOFT_OFF = 0  # what the PIIX4 itself calls S5, as firmware knows that reads no DSDT
TIMER_HZ = 3_579_545
NS = 1_000_000_000

STATE = Fields(
    elapsed_ns=number((1 << 62) - 1),
    status=number(0xFFFF),
    enable=number(ENABLE_BITS),
    control=number(0xFFFF),
    carries=number((1 << 62) - 1),
    gpe_status=number(0xFFFF),
    gpe_enable=number(0xFFFF),
    level=FLAG,
)


class PowerControl(Protocol):
    """What the chip asks of the machine: S5, S3, and the end of S3."""

    def power_off(self) -> None: ...
    def suspend(self) -> None: ...
    def wake(self) -> None: ...


class AcpiPm:
    """The PM1 blocks and the timer. `woken_by` are the status bits to begin with, after a sleep."""

    def __init__(self, sci: IrqLine, clock: Clock, control: PowerControl, woken_by: int = 0) -> None:
        self._sci = sci
        self._clock = clock
        self._control_lines = control
        self._asleep = False
        self._lock = Lock()
        self._start_ns = clock.monotonic_ns()
        self._status = woken_by | WOKEN if woken_by else 0
        self._enable = self._control = 0
        self._gpe_status = self._gpe_enable = 0
        self._carries = 0  # half turns of the timer that the status bit has seen
        self._timer: Timer | None = None
        self._level = False

    def read(self, offset: int, size: int, /) -> int:
        if offset == TIMER and size == 4:
            return self._ticks() & 0xFFFF_FFFF
        with self._lock:
            self._catch_up()
            image = self._status | self._enable << 16 | (self._control | SCI_ENABLED) << 32
            image |= (self._ticks() & 0xFFFF_FFFF) << 64 | self._gpe_status << 96 | self._gpe_enable << 112
        return image >> (8 * offset) & (1 << (8 * size)) - 1

    def write(self, offset: int, size: int, value: int, /) -> None:
        sleep_type = None
        with self._lock:
            self._catch_up()
            for at in range(offset, offset + size):
                written = self._write_byte(at, value >> (8 * (at - offset)) & 0xFF)
                sleep_type = sleep_type if written is None else written
            self._update()
            self._schedule()
        if sleep_type in (SLEEP_TYPE_S5, SOFT_OFF):
            self._control_lines.power_off()
        elif sleep_type == SLEEP_TYPE_S3:
            self._control_lines.suspend()
            with self._lock:
                self._asleep = True
            self._wake_if_due()

    def press_power_button(self) -> None:
        """Asks the guest to shut down, as a short press of the button does, or wakes it."""
        self._note(POWER_BUTTON)

    def note_rtc_alarm(self) -> None:
        """The real-time clock raises its interrupt."""
        self._note(RTC_ALARM)

    def raise_event(self, number: int) -> None:
        """A general-purpose event: the guest runs the method of its number."""
        with self._lock:
            self._gpe_status |= 1 << number
            self._update()

    def woken_by(self) -> int:
        """The events that ended a sleep, for the board that the guest wakes on."""
        with self._lock:
            return self._status & (POWER_BUTTON | RTC_ALARM)

    def state(self) -> State:
        """The timer stands still while the machine is saved, as its processors do."""
        with self._lock:
            return STATE.of(self)

    def restore(self, state: State, /) -> None:
        with self._lock:
            STATE.put(self, state)
            self._sci.set(self._level)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._carries = min(self._carries, self._ticks() >> 31)
            self._schedule()

    @property
    def asleep(self) -> bool:
        """The guest sleeps with memory kept."""
        return self._asleep

    @property
    def _elapsed_ns(self) -> int:
        return self._clock.monotonic_ns() - self._start_ns

    @_elapsed_ns.setter
    def _elapsed_ns(self, elapsed: int) -> None:
        self._start_ns = self._clock.monotonic_ns() - elapsed

    def _note(self, event: int) -> None:
        with self._lock:
            self._status |= event
            self._update()
        self._wake_if_due()

    def _wake_if_due(self) -> None:
        """The power button always wakes, the clock if it is enabled to."""
        with self._lock:
            due = self._asleep and self._status & (POWER_BUTTON | self._enable & RTC_ALARM)
            if due:
                self._asleep = False
        if due:
            self._control_lines.wake()

    def _write_byte(self, offset: int, value: int) -> int | None:
        """The type of sleep that the guest enters by it, if any."""
        register, shift = offset & ~1, 8 * (offset & 1)
        if register == STATUS:
            self._status &= ~(value << shift)  # writing ones clears
        elif register == ENABLE:
            self._enable = (self._enable & ~(0xFF << shift) | value << shift) & ENABLE_BITS
        elif register == GPE_STATUS:
            self._gpe_status &= ~(value << shift)
        elif register == GPE_ENABLE:
            self._gpe_enable = self._gpe_enable & ~(0xFF << shift) | value << shift
        elif register == CONTROL:
            written = self._control & ~(0xFF << shift) | value << shift
            self._control = written & (7 << SLEEP_TYPE_SHIFT | BUS_MASTER_RELOAD)
            return written >> SLEEP_TYPE_SHIFT & 7 if written & SLEEP_ENABLE else None
        return None

    def _ticks(self) -> int:
        return (self._clock.monotonic_ns() - self._start_ns) * TIMER_HZ // NS

    def _catch_up(self) -> None:
        """The carry bit is set whenever the timer's highest bit changes."""
        carries = self._ticks() >> 31
        if carries != self._carries:
            self._carries = carries
            self._status |= TIMER_CARRY

    def _update(self) -> None:
        level = bool(self._status & self._enable | self._gpe_status & self._gpe_enable)
        if level != self._level:
            self._level = level
            self._sci.set(level)

    def _schedule(self) -> None:
        if not self._enable & TIMER_CARRY:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif self._timer is None:
            to_carry = (self._carries + 1 << 31) - self._ticks()
            self._timer = self._clock.after(to_carry * NS // TIMER_HZ + 1, self._carry)

    def _carry(self) -> None:
        with self._lock:
            self._timer = None
            self._catch_up()
            self._update()
            self._schedule()
