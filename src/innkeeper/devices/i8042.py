"""8042 keyboard controller with a keyboard on its first port and nothing on its second.

Spec: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller".
Offsets: 0 data, 4 status and command. Every command is answered at once, so that a kernel's probe
takes no time. Left out: the auxiliary port, A20 (always on), scan-code sets other than 2 and its
translation.
"""

from collections import deque
from collections.abc import Callable
from threading import Lock

from innkeeper.bus import IrqLine

DATA, COMMAND = 0, 4
REGION_BYTES = 5

# 7 parity │ 6 timeout │ 5 auxiliary data │ 4 not locked │ 3 last write was a command │ 2 system │ 1 input full │ 0 output full
STATUS_OUTPUT_FULL, STATUS_SYSTEM, STATUS_COMMAND, STATUS_UNLOCKED = 0x01, 0x04, 0x08, 0x10
STATUS_AUXILIARY = 0x20
# 6 translate │ 5 auxiliary off │ 4 keyboard off │ 2 system │ 1 auxiliary interrupt │ 0 keyboard interrupt
MODE_INTERRUPT, MODE_SYSTEM, MODE_KEYBOARD_OFF, MODE_AUXILIARY_OFF, MODE_TRANSLATE = 0x01, 0x04, 0x10, 0x20, 0x40

READ_MODE, WRITE_MODE = 0x20, 0x60
AUXILIARY_DISABLE, AUXILIARY_ENABLE, AUXILIARY_TEST = 0xA7, 0xA8, 0xA9
SELF_TEST, KEYBOARD_TEST = 0xAA, 0xAB
KEYBOARD_DISABLE, KEYBOARD_ENABLE = 0xAD, 0xAE
READ_OUTPUT_PORT, WRITE_OUTPUT_PORT = 0xD0, 0xD1
WRITE_KEYBOARD_OUTPUT, WRITE_AUXILIARY_OUTPUT, WRITE_AUXILIARY = 0xD2, 0xD3, 0xD4
PULSE_LINES = 0xF0  # F0-FF: pulse the output port's low four lines where the command's own bits are zero
WITH_PARAMETER = (WRITE_MODE, WRITE_OUTPUT_PORT, WRITE_KEYBOARD_OUTPUT, WRITE_AUXILIARY_OUTPUT, WRITE_AUXILIARY)

SELF_TEST_PASSED = 0x55
KEYBOARD_CLOCK_FINE = 0x00
AUXILIARY_CLOCK_LOW = 0x01  # nobody there
OUTPUT_PORT_RESET, OUTPUT_PORT_A20 = 0x01, 0x02

ACK, RESEND, KEYBOARD_PASSED = 0xFA, 0xFE, 0xAA
KEYBOARD_ID = (0xAB, 0x83)
SET_LEDS, ECHO, SCAN_SET, IDENTIFY, SET_RATE = 0xED, 0xEE, 0xF0, 0xF2, 0xF3
SCAN_ON, SCAN_OFF, DEFAULTS, KEYBOARD_RESET = 0xF4, 0xF5, 0xF6, 0xFF

ANSWERS = {
    ECHO: (ECHO,),
    IDENTIFY: (ACK, *KEYBOARD_ID),
    KEYBOARD_RESET: (ACK, KEYBOARD_PASSED),
    **dict.fromkeys((SET_LEDS, SCAN_SET, SET_RATE, SCAN_ON, SCAN_OFF, DEFAULTS), (ACK,)),
}
SWITCHES = {  # command: mode bits off, mode bits on
    KEYBOARD_DISABLE: (0, MODE_KEYBOARD_OFF),
    KEYBOARD_ENABLE: (MODE_KEYBOARD_OFF, 0),
    AUXILIARY_DISABLE: (0, MODE_AUXILIARY_OFF),
    AUXILIARY_ENABLE: (MODE_AUXILIARY_OFF, 0),
    SELF_TEST: (0, MODE_SYSTEM),
}


class Keyboard:
    """A PS/2 keyboard's side of the conversation: command bytes in, answers out."""

    def __init__(self) -> None:
        self._parameter_of: int | None = None

    def command(self, value: int) -> tuple[int, ...]:
        """The keyboard's answer to one byte."""
        if self._parameter_of is not None:
            asked, self._parameter_of = self._parameter_of, None
            return (ACK, 2) if asked == SCAN_SET and value == 0 else (ACK,)
        if value in (SET_LEDS, SCAN_SET, SET_RATE):
            self._parameter_of = value
        return ANSWERS.get(value, (RESEND,))


class I8042:
    """The controller. `reset` is called when the guest pulses the processor's reset line."""

    def __init__(self, irq: IrqLine, reset: Callable[[], None]) -> None:
        self._irq = irq
        self._reset = reset
        self._lock = Lock()
        self._keyboard = Keyboard()
        self._output: deque[tuple[int, bool]] = deque()  # byte, whether it comes from the auxiliary port
        self._mode = MODE_INTERRUPT | MODE_SYSTEM | MODE_TRANSLATE | MODE_AUXILIARY_OFF
        self._ram = bytearray(32)
        self._pending: int | None = None  # a command that waits for its parameter
        self._last_was_command = False
        self._last = 0
        self._level = False

    def read(self, offset: int, size: int, /) -> int:
        if size != 1:
            return (1 << (8 * size)) - 1
        with self._lock:
            if offset == DATA:
                return self._take()
            return self._status() if offset == COMMAND else 0xFF

    def write(self, offset: int, size: int, value: int, /) -> None:
        if size != 1 or offset not in (DATA, COMMAND):
            return
        with self._lock:
            self._last_was_command = offset == COMMAND
            resets = self._command(value) if offset == COMMAND else self._data(value)
            self._update()
        if resets:
            self._reset()

    def _status(self) -> int:
        status = STATUS_UNLOCKED | self._mode & STATUS_SYSTEM
        if self._last_was_command:
            status |= STATUS_COMMAND
        if self._output:
            status |= STATUS_OUTPUT_FULL | (STATUS_AUXILIARY if self._output[0][1] else 0)
        return status

    def _take(self) -> int:
        if self._output:
            self._last = self._output.popleft()[0]
            self._drive(False)  # each byte is one edge
            self._update()
        return self._last

    def _put(self, *values: int, auxiliary: bool = False) -> None:
        self._output.extend((value, auxiliary) for value in values)

    def _update(self) -> None:
        keyboard_data = bool(self._output) and not self._output[0][1]
        self._drive(keyboard_data and bool(self._mode & MODE_INTERRUPT))

    def _drive(self, level: bool) -> None:
        if level != self._level:
            self._level = level
            self._irq.set(level)

    def _command(self, command: int) -> bool:
        """Tells whether the processor is reset."""
        self._pending = None
        if command in WITH_PARAMETER or WRITE_MODE <= command < WRITE_MODE + 32:
            self._pending = command
            return False
        if READ_MODE <= command < READ_MODE + 32:
            self._put(self._mode if command == READ_MODE else self._ram[command - READ_MODE])
            return False
        answers = {
            AUXILIARY_TEST: AUXILIARY_CLOCK_LOW,
            SELF_TEST: SELF_TEST_PASSED,
            KEYBOARD_TEST: KEYBOARD_CLOCK_FINE,
            READ_OUTPUT_PORT: OUTPUT_PORT_RESET | OUTPUT_PORT_A20 | (STATUS_UNLOCKED if self._output else 0),
        }
        if command == SELF_TEST:
            self._output.clear()
        if command in answers:
            self._put(answers[command])
        off, on = SWITCHES.get(command, (0, 0))
        self._mode = self._mode & ~off | on
        return command >= PULSE_LINES and not command & OUTPUT_PORT_RESET

    def _data(self, value: int) -> bool:
        """A byte for the pending command, or else for the keyboard. Tells whether the processor is reset."""
        pending, self._pending = self._pending, None
        if pending is None:
            self._mode &= ~MODE_KEYBOARD_OFF  # talking to the keyboard turns it on
            self._put(*self._keyboard.command(value))
        elif pending == WRITE_MODE:
            self._mode = value
        elif WRITE_MODE < pending < WRITE_MODE + 32:
            self._ram[pending - WRITE_MODE] = value
        elif pending == WRITE_OUTPUT_PORT:
            return not value & OUTPUT_PORT_RESET
        elif pending == WRITE_KEYBOARD_OUTPUT:
            self._put(value)
        elif pending == WRITE_AUXILIARY_OUTPUT:
            self._put(value, auxiliary=True)
        else:  # WRITE_AUXILIARY: nobody there to answer; the controller says so by a timeout's resend
            self._put(RESEND, auxiliary=True)
        return False
