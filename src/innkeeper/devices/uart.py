"""16550A UART: the guest's serial port.

Spec: National Semiconductor PC16550D datasheet. Transmission takes no time, and the line never
breaks: modem inputs say that a peer is there and ready. Left out: DMA mode, baud rates, parity.
Port reads of the line status and writes of the transmitter dominate a kernel's boot, so those two
have a short path through `read` and `write`.
"""

from collections import deque
from threading import Lock
from typing import Protocol

from innkeeper.bus import Fields, IrqLine, State
from innkeeper.bus.state import BYTE, FLAG, data, number

RBR = THR = DLL = 0  # receiver buffer, transmitter holding, divisor low
IER = DLM = 1  # interrupt enable, divisor high
IIR = FCR = 2  # interrupt identification, FIFO control
LCR = 3  # line control
MCR = 4  # modem control
LSR = 5  # line status
MSR = 6  # modem status
SCR = 7  # scratch
REGISTERS = 8

IER_RECEIVED = 0x01  # data available
IER_THR_EMPTY = 0x02
IER_LINE_STATUS = 0x04
IER_MODEM_STATUS = 0x08

IIR_NONE = 0x01
IIR_MODEM_STATUS = 0x00
IIR_THR_EMPTY = 0x02
IIR_RECEIVED = 0x04
IIR_LINE_STATUS = 0x06
IIR_TIMEOUT = 0x0C  # data below the trigger level has waited
IIR_FIFOS_ON = 0xC0

FCR_ENABLE = 0x01
FCR_CLEAR_RECEIVER = 0x02
TRIGGER_LEVELS = (1, 4, 8, 14)  # by FCR bits 7-6

LCR_DIVISOR_LATCH = 0x80  # registers 0 and 1 are the divisor

# 4 loopback │ 3 OUT2: gates the interrupt onto the PC's bus │ 2 OUT1 │ 1 RTS │ 0 DTR
MCR_DTR, MCR_RTS, MCR_OUT1, MCR_OUT2, MCR_LOOPBACK = 0x01, 0x02, 0x04, 0x08, 0x10

LSR_DATA_READY = 0x01
LSR_OVERRUN = 0x02
LSR_BREAK = 0x10
LSR_THR_EMPTY = 0x20
LSR_IDLE = 0x40
LSR_ERRORS = 0x1E

# 7 DCD │ 6 RI │ 5 DSR │ 4 CTS │ 3-0 the same, changed since the last read (RI: only on its end)
MSR_CTS, MSR_DSR, MSR_RI, MSR_DCD = 0x10, 0x20, 0x40, 0x80
PEER_READY = MSR_CTS | MSR_DSR | MSR_DCD

FIFO_BYTES = 16
BACKLOG_LIMIT = 1 << 20
BYTES = tuple(bytes((value,)) for value in range(256))


STATE = Fields(
    received=data(most=BACKLOG_LIMIT + FIFO_BYTES, into=deque),
    ier=number(0x0F),
    lcr=BYTE,
    mcr=number(0x1F),
    scr=BYTE,
    fcr=number(0xC9),
    divisor=number(0xFFFF),
    lsr=BYTE,
    msr=BYTE,
    thr_interrupt=FLAG,
    level=FLAG,
)


class ConsoleSink(Protocol):
    """Where transmitted bytes go."""

    def write(self, data: bytes, /) -> object: ...


class Uart:
    """Guest side by `read` and `write`; host side by `receive` and the sink it was given."""

    def __init__(self, irq: IrqLine, console: ConsoleSink) -> None:
        self._irq = irq
        self._console = console
        self._lock = Lock()
        self._level = False
        self._received: deque[int] = deque()  # the FIFO and, behind it, what the line still holds
        self._ier = self._lcr = self._mcr = self._scr = self._fcr = 0
        self._divisor = 12  # 9600 baud
        self._lsr = LSR_THR_EMPTY | LSR_IDLE
        self._msr = PEER_READY
        self._thr_interrupt = False
        self._transmits = True  # a write of THR goes out on the line

    # ---- guest side -----------------------------------------------------------------------------

    def read(self, offset: int, size: int, /) -> int:
        if size == 1:
            if offset == LSR and not self._lsr & LSR_ERRORS:
                return self._lsr
            with self._lock:
                return self._read(offset)
        return int.from_bytes((self.read(offset + i, 1) for i in range(size)), "little")

    def write(self, offset: int, size: int, value: int, /) -> None:
        if size == 1:
            if offset == THR and self._transmits:
                # Outside the lock, since a slow reader may make us wait here and typing must go on.
                self._console.write(BYTES[value])
                if not self._ier & IER_THR_EMPTY:
                    return
            with self._lock:
                self._write(offset, value)
                self._update()
            return
        for i in range(size):
            self.write(offset + i, 1, value >> (8 * i) & 0xFF)

    def _read(self, offset: int) -> int:
        if self._lcr & LCR_DIVISOR_LATCH and offset in (DLL, DLM):
            return self._divisor >> (8 * offset) & 0xFF
        match offset:
            case 0:
                value = self._take()
            case 1:
                value = self._ier
            case 2:
                value = self._identify()
            case 3:
                value = self._lcr
            case 4:
                value = self._mcr
            case 5:
                value, self._lsr = self._lsr, self._lsr & ~LSR_ERRORS
            case 6:
                value, self._msr = self._msr, self._msr & 0xF0
            case _:
                value = self._scr
        self._update()
        return value

    def _write(self, offset: int, value: int) -> None:
        if self._lcr & LCR_DIVISOR_LATCH and offset in (DLL, DLM):
            shift = 8 * offset
            self._divisor = self._divisor & ~(0xFF << shift) | value << shift
            return
        match offset:
            case 0:
                if self._mcr & MCR_LOOPBACK:
                    self._arrive(BYTES[value])
                self._thr_interrupt = True  # sent already, so empty again
            case 1:
                # Enabling the interrupt while the transmitter is empty raises it at once.
                self._thr_interrupt |= bool(value & ~self._ier & IER_THR_EMPTY)
                self._ier = value & 0x0F
            case 2:
                self._control_fifos(value)
            case 3:
                self._lcr = value
            case 4:
                self._mcr = value & 0x1F
                self._sense_modem()
            case 7:
                self._scr = value
            case _:
                pass  # LSR and MSR: writes are for factory tests only
        self._choose_path()

    def _choose_path(self) -> None:
        self._transmits = not (self._lcr & LCR_DIVISOR_LATCH or self._mcr & MCR_LOOPBACK)

    def _take(self) -> int:
        if not self._received:
            return 0
        value = self._received.popleft()
        if not self._received:
            self._lsr &= ~LSR_DATA_READY
        return value

    def _control_fifos(self, value: int) -> None:
        if (value ^ self._fcr) & FCR_ENABLE or (value & FCR_ENABLE and value & FCR_CLEAR_RECEIVER):
            # Only what is in the FIFO goes; the rest of the backlog has not arrived yet.
            for _ in range(min(FIFO_BYTES, len(self._received))):
                self._received.popleft()
            if not self._received:
                self._lsr &= ~LSR_DATA_READY
        self._fcr = value & 0xC9 if value & FCR_ENABLE else 0

    def _sense_modem(self) -> None:
        if self._mcr & MCR_LOOPBACK:
            wires = ((MCR_RTS, MSR_CTS), (MCR_DTR, MSR_DSR), (MCR_OUT1, MSR_RI), (MCR_OUT2, MSR_DCD))
            inputs = sum(there for here, there in wires if self._mcr & here)
        else:
            inputs = PEER_READY
        changed = (inputs ^ self._msr) & 0xF0
        if changed & inputs & MSR_RI:
            changed &= ~MSR_RI  # only the end of a ring is noted
        self._msr = inputs | self._msr & 0x0F | changed >> 4

    # ---- saved and restored ---------------------------------------------------------------------

    def state(self) -> State:
        with self._lock:
            return STATE.of(self)

    def restore(self, state: State, /) -> None:
        with self._lock:
            STATE.put(self, state)
            self._lsr = self._lsr & ~LSR_DATA_READY | (LSR_DATA_READY if self._received else 0)
            self._choose_path()
            self._irq.set(self._level)

    # ---- interrupts -----------------------------------------------------------------------------

    def _pending(self) -> int:
        """The most urgent enabled interrupt, as IIR gives it."""
        if self._ier & IER_LINE_STATUS and self._lsr & LSR_ERRORS:
            return IIR_LINE_STATUS
        if self._ier & IER_RECEIVED and self._received:
            trigger = TRIGGER_LEVELS[self._fcr >> 6] if self._fcr & FCR_ENABLE else 1
            return IIR_RECEIVED if len(self._received) >= trigger else IIR_TIMEOUT
        if self._ier & IER_THR_EMPTY and self._thr_interrupt:
            return IIR_THR_EMPTY
        if self._ier & IER_MODEM_STATUS and self._msr & 0x0F:
            return IIR_MODEM_STATUS
        return IIR_NONE

    def _identify(self) -> int:
        pending = self._pending()
        if pending == IIR_THR_EMPTY:
            self._thr_interrupt = False
        return pending | (IIR_FIFOS_ON if self._fcr & FCR_ENABLE else 0)

    def _update(self) -> None:
        gated_on = self._mcr & MCR_OUT2 and not self._mcr & MCR_LOOPBACK
        level = bool(gated_on and self._pending() != IIR_NONE)
        if level != self._level:
            self._level = level
            self._irq.set(level)

    # ---- host side ------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes from the line. In loopback nobody listens to it."""
        with self._lock:
            if not self._mcr & MCR_LOOPBACK:
                self._arrive(data)
                self._update()

    @property
    def is_listened_to(self) -> bool:
        """Whether the guest waits for what comes in, as it does while a program has its terminal open."""
        return bool(self._ier & IER_RECEIVED)

    def receive_break(self) -> None:
        """The line is held low for longer than a character: a NUL with the break flag."""
        with self._lock:
            if not self._mcr & MCR_LOOPBACK:
                self._arrive(b"\0")
                self._lsr |= LSR_BREAK
                self._update()

    def _arrive(self, data: bytes) -> None:
        room = max(BACKLOG_LIMIT - len(self._received), 0)
        self._received.extend(data[:room])
        if len(data) > room:
            self._lsr |= LSR_OVERRUN
        if self._received:
            self._lsr |= LSR_DATA_READY
