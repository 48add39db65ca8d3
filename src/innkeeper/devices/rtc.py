"""MC146818 real-time clock with 128 bytes of CMOS RAM, as on a PC: index at port 0, data at port 1.

Spec: Motorola MC146818A datasheet; the PC's use of CMOS RAM from Ralf Brown's list. The date is the
host's, in UTC, plus whatever the guest has set it off by. Left out: daylight saving, other
time-base dividers than 32.768 kHz, square-wave output.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from threading import Lock

from innkeeper.bus import Clock, Fields, IrqLine, State, Timer
from innkeeper.bus.state import BYTE, data, number, optional
from innkeeper.records import dataclass

SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM = range(6)
DAY_OF_WEEK, DAY, MONTH, YEAR = range(6, 10)
CENTURY = 0x32  # where the FADT says it is
TIME_REGISTERS = frozenset((SECONDS, MINUTES, HOURS, DAY_OF_WEEK, DAY, MONTH, YEAR, CENTURY))
ALARM_REGISTERS = (HOURS_ALARM, MINUTES_ALARM, SECONDS_ALARM)
ALARM_ANY = 0xC0  # two high bits set: matches every value

# 7 UIP: an update is near │ 6-4 divider, 010 = 32.768 kHz │ 3-0 rate of the periodic interrupt
A = 0x0A
A_UPDATE_IN_PROGRESS, A_DIVIDER, A_RUNNING, A_RATE = 0x80, 0x70, 0x20, 0x0F
# 7 SET: hold updates │ 6 PIE │ 5 AIE │ 4 UIE │ 3 SQWE │ 2 binary │ 1 24 hours │ 0 DSE
B = 0x0B
B_SET, B_PERIODIC, B_ALARM, B_UPDATE, B_BINARY, B_24_HOURS = 0x80, 0x40, 0x20, 0x10, 0x04, 0x02
# 7 IRQF │ 6 PF │ 5 AF │ 4 UF; reading clears them all
C = 0x0C
C_IRQ, C_PERIODIC, C_ALARM, C_UPDATE = 0x80, 0x40, 0x20, 0x10
D = 0x0D
D_VALID = 0x80  # the battery is good

NS = 1_000_000_000
UPDATE_NS = 244_000  # UIP is set this long before the registers change
CMOS_BYTES = 128
LAST_SECOND = int(datetime(9999, 12, 30, tzinfo=UTC).timestamp())  # a day before dates end

STATE = Fields(
    index=number(CMOS_BYTES - 1),
    ram=data(CMOS_BYTES, into=bytearray),
    offset_ns=number(LAST_SECOND * NS, least=-LAST_SECOND * NS),
    held_second=optional(number(LAST_SECOND)),
    flags=BYTE,
    seen_ns=number(LAST_SECOND * NS, least=-LAST_SECOND * NS),
)


@dataclass(frozen=True, slots=True)
class RtcStateV1:
    """What the battery keeps: registers and RAM, flags, and the guest's date less the host's."""

    ram: bytes
    flags: int
    offset_ns: int

    def after_reset(self) -> "RtcStateV1":
        """The reset line clears the interrupt enables and flags, and nothing else."""
        ram = bytearray(self.ram)
        ram[B] &= ~(B_PERIODIC | B_ALARM | B_UPDATE)
        return RtcStateV1(bytes(ram), 0, self.offset_ns)


class Rtc:
    """The clock's two ports. `cmos` are the RAM bytes that the board wants to start with, `battery` what
    another board's clock kept.
    """

    def __init__(
        self,
        irq: IrqLine,
        clock: Clock,
        cmos: Mapping[int, int] | None = None,
        battery: RtcStateV1 | None = None,
    ) -> None:
        self._irq = irq
        self._clock = clock
        self._lock = Lock()
        self._index = 0
        self._ram = bytearray(battery.ram if battery else CMOS_BYTES)
        if battery is None:
            self._ram[A] = A_RUNNING | 6  # 1024 Hz
            self._ram[B] = B_24_HOURS
        for address, value in (cmos or {}).items():
            self._ram[address] = value
        self._offset_ns = battery.offset_ns if battery else 0  # guest's date less the host's
        self._held: datetime | None = None  # the date while SET holds it
        self._flags = battery.flags if battery else 0
        self._seen_ns = self._now_ns()  # flags are right up to here
        self._timer: Timer | None = None
        if self._ram[B] & B_SET:
            self._hold(True)
        self._schedule()

    def read(self, offset: int, size: int, /) -> int:
        with self._lock:
            if size == 1:
                return self._read(self._index) if offset else 0xFF  # the index cannot be read back
            return 0xFF | self._read(self._index) << 8

    def write(self, offset: int, size: int, value: int, /) -> None:
        with self._lock:
            if offset:
                self._write(self._index, value)
            else:
                self._index = value & 0x7F  # bit 7 masks the NMI, which nothing here raises
                if size > 1:
                    self._write(self._index, value >> 8 & 0xFF)

    def save(self) -> RtcStateV1:
        """What the battery keeps while the board is away."""
        with self._lock:
            self._catch_up()
            return RtcStateV1(bytes(self._ram), self._flags, self._offset_ns)

    def state(self) -> State:
        """The date goes on while the machine is saved, as with a battery."""
        with self._lock:
            self._catch_up()
            return STATE.of(self)

    def restore(self, state: State, /) -> None:
        with self._lock:
            now = self._clock.wall_ns() + STATE.check(state)["offset_ns"]
            if not 0 <= now <= LAST_SECOND * NS:
                raise ValueError(f"offset_ns: it leads to second {now // NS}; there are those up to {LAST_SECOND}")
            STATE.put(self, state)
            self._seen_ns = min(self._seen_ns, now)
            self._irq.set(bool(self._flags & C_IRQ))
            self._catch_up()
            self._schedule()

    @property
    def _held_second(self) -> int | None:
        return None if self._held is None else int(self._held.timestamp())

    @_held_second.setter
    def _held_second(self, second: int | None) -> None:
        self._held = None if second is None else datetime.fromtimestamp(second, UTC)

    # ---- registers ------------------------------------------------------------------------------

    def _read(self, index: int) -> int:
        if index in TIME_REGISTERS:
            return self._encode_time(self._date())[index]
        if index == A:
            return self._ram[A] | (A_UPDATE_IN_PROGRESS if self._update_is_near() else 0)
        if index == C:
            self._catch_up()
            flags, self._flags = self._flags, 0
            self._irq.set(False)
            self._schedule()
            return flags
        if index == D:
            return D_VALID
        return self._ram[index]

    def _write(self, index: int, value: int) -> None:
        if index in TIME_REGISTERS:
            self._set_time(index, value)
            return
        if index in (C, D):
            return  # read-only
        self._catch_up()
        if index == A:
            value &= ~A_UPDATE_IN_PROGRESS
        if index == B and (value ^ self._ram[B]) & B_SET:
            self._hold(value & B_SET != 0)
        self._ram[index] = value
        self._raise_flags(0)
        self._schedule()

    # ---- the date -------------------------------------------------------------------------------

    def _now_ns(self) -> int:
        return self._clock.wall_ns() + self._offset_ns

    def _date(self) -> datetime:
        if self._held is not None:
            return self._held
        return datetime.fromtimestamp(self._now_ns() // NS, UTC)

    def _running(self) -> bool:
        return self._held is None and self._ram[A] & A_DIVIDER == A_RUNNING

    def _update_is_near(self) -> bool:
        return self._running() and self._now_ns() % NS >= NS - UPDATE_NS

    def _hold(self, hold: bool) -> None:
        """SET stops the clock so that its registers can be written; clearing it starts from them."""
        if hold:
            self._held = self._date()
            return
        if self._held is not None:
            self._offset_ns = int(self._held.timestamp()) * NS - self._clock.wall_ns()
            self._held = None
        self._seen_ns = self._now_ns()

    def _encode(self, value: int) -> int:
        return value if self._ram[B] & B_BINARY else value // 10 << 4 | value % 10

    def _decode(self, value: int) -> int:
        return value if self._ram[B] & B_BINARY else (value >> 4) * 10 + (value & 0x0F)

    def _encode_hour(self, hour: int) -> int:
        if self._ram[B] & B_24_HOURS:
            return self._encode(hour)
        return self._encode(hour % 12 or 12) | (0x80 if hour >= 12 else 0)

    def _decode_hour(self, value: int) -> int:
        if self._ram[B] & B_24_HOURS:
            return self._decode(value)
        return self._decode(value & 0x7F) % 12 + (12 if value & 0x80 else 0)

    def _encode_time(self, date: datetime) -> dict[int, int]:
        century, year = divmod(date.year, 100)
        return {
            SECONDS: self._encode(date.second),
            MINUTES: self._encode(date.minute),
            HOURS: self._encode_hour(date.hour),
            DAY_OF_WEEK: self._encode(date.isoweekday() % 7 + 1),
            DAY: self._encode(date.day),
            MONTH: self._encode(date.month),
            YEAR: self._encode(year),
            CENTURY: self._encode(century),
        }

    def _set_time(self, index: int, value: int) -> None:
        """Writes one register of the date. A date that does not exist is carried into the next month."""
        date = self._date()
        number = self._decode_hour(value) if index == HOURS else self._decode(value)
        fields = {YEAR: date.year % 100, CENTURY: date.year // 100, MONTH: date.month, DAY: date.day}
        fields |= {HOURS: date.hour, MINUTES: date.minute, SECONDS: date.second, index: number}
        year = max(min(fields[CENTURY] * 100 + fields[YEAR], 9998), 1970)
        start = datetime(year, max(min(fields[MONTH], 12), 1), 1, tzinfo=UTC)
        clock = timedelta(hours=fields[HOURS], minutes=fields[MINUTES], seconds=fields[SECONDS])
        changed = start + timedelta(days=max(fields[DAY], 1) - 1) + clock
        if self._held is not None:
            self._held = changed
        else:
            self._offset_ns += int((changed - date).total_seconds()) * NS
            self._seen_ns = self._now_ns()

    # ---- interrupts -----------------------------------------------------------------------------

    def _period_ns(self) -> int | None:
        """Time between periodic interrupts. Rates 1 and 2 mean 8 and 9 with the usual divider."""
        rate = self._ram[A] & A_RATE
        if not rate or self._ram[A] & A_DIVIDER != A_RUNNING:
            return None
        return NS << (rate + 7 if rate < 3 else rate) - 1 >> 15

    def _alarm_after(self, now_ns: int) -> int | None:
        """When the alarm next goes off, counted from `now_ns`; None if it never matches."""
        hour, minute, second = (self._ram[index] for index in ALARM_REGISTERS)
        hours = range(24) if hour >= ALARM_ANY else (self._decode_hour(hour),)
        minutes = range(60) if minute >= ALARM_ANY else (self._decode(minute),)
        seconds = range(60) if second >= ALARM_ANY else (self._decode(second),)
        if max(hours) > 23 or max(minutes) > 59 or max(seconds) > 59:
            return None
        day, today = divmod(now_ns // NS, 86400)
        for later in (0, 1):
            for at_hour in hours:
                if not later and at_hour < today // 3600:
                    continue
                for at_minute in minutes:
                    first = at_hour * 3600 + at_minute * 60
                    if later or first + seconds[-1] > today:
                        second_of_day = first + next(s for s in seconds if later or first + s > today)
                        return ((day + later) * 86400 + second_of_day) * NS
        return None

    def _catch_up(self) -> None:
        """Sets the flags of everything that has happened since they were last looked at."""
        now_ns, flags = self._now_ns(), 0
        if self._running() and now_ns > self._seen_ns:
            if now_ns // NS > self._seen_ns // NS:
                flags |= C_UPDATE
                alarm = self._alarm_after(self._seen_ns)
                if alarm is not None and alarm <= now_ns:
                    flags |= C_ALARM
            period = self._period_ns()
            if period and now_ns // period > self._seen_ns // period:
                flags |= C_PERIODIC
        self._seen_ns = now_ns
        self._raise_flags(flags)

    def _raise_flags(self, flags: int) -> None:
        """Flags C 6-4 and the enables B 6-4 sit in the same bits."""
        self._flags |= flags
        if self._flags & self._ram[B] & (B_PERIODIC | B_ALARM | B_UPDATE) and not self._flags & C_IRQ:
            self._flags |= C_IRQ
            self._irq.set(True)

    def _schedule(self) -> None:
        """Asks to be called at the next enabled event. Until C is read, no event can change the line."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flags & C_IRQ or not self._running():
            return
        enabled, now_ns, due = self._ram[B], self._now_ns(), []
        period = self._period_ns()
        if enabled & B_PERIODIC and period:
            due.append((now_ns // period + 1) * period)
        if enabled & B_UPDATE:
            due.append((now_ns // NS + 1) * NS)
        if enabled & B_ALARM and (alarm := self._alarm_after(now_ns)) is not None:
            due.append(alarm)
        if due:
            self._timer = self._clock.after(min(due) - now_ns, self._event)

    def _event(self) -> None:
        with self._lock:
            self._catch_up()
            self._schedule()
