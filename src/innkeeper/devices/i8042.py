"""8042 keyboard controller with a keyboard on its first port and a mouse on its second, the auxiliary one.

Spec: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller".
Offsets: 0 data, 4 status and command. Every command is answered at once, so that a kernel's probe
takes no time. What people type comes one key after the other with a pause between them, because firmware
and boot loaders keep few keys. Left out: A20 (always on), the test inputs.
"""

from collections import deque
from collections.abc import Callable
from threading import Lock

from innkeeper.bus import Clock, Fields, IrqLine, State, Stateful
from innkeeper.bus.state import ANYTHING, BYTE, FLAG, data, group, number, optional, queue
from innkeeper.devices.ps2 import Keyboard, Mouse, Translator
from innkeeper.devices.ps2.mouse import Click

DATA, COMMAND = 0, 4
REGION_BYTES = 5

# 7 parity │ 6 timeout │ 5 auxiliary data │ 4 not locked │ 3 last write was a command │ 2 system │ 1 input full │ 0 output full
STATUS_OUTPUT_FULL, STATUS_SYSTEM, STATUS_COMMAND, STATUS_UNLOCKED = 0x01, 0x04, 0x08, 0x10
STATUS_AUXILIARY = 0x20
# 6 translate │ 5 auxiliary off │ 4 keyboard off │ 2 system │ 1 auxiliary interrupt │ 0 keyboard interrupt
MODE_INTERRUPT, MODE_SYSTEM, MODE_KEYBOARD_OFF, MODE_AUXILIARY_OFF, MODE_TRANSLATE = 0x01, 0x04, 0x10, 0x20, 0x40
MODE_AUXILIARY_INTERRUPT = 0x02

READ_MODE, WRITE_MODE = 0x20, 0x60
AUXILIARY_DISABLE, AUXILIARY_ENABLE, AUXILIARY_TEST = 0xA7, 0xA8, 0xA9
SELF_TEST, KEYBOARD_TEST = 0xAA, 0xAB
KEYBOARD_DISABLE, KEYBOARD_ENABLE = 0xAD, 0xAE
READ_INPUT_PORT, READ_OUTPUT_PORT, WRITE_OUTPUT_PORT = 0xC0, 0xD0, 0xD1
WRITE_KEYBOARD_OUTPUT, WRITE_AUXILIARY_OUTPUT, WRITE_AUXILIARY = 0xD2, 0xD3, 0xD4
PULSE_LINES = 0xF0  # F0-FF: pulse the output port's low four lines where the command's own bits are zero
WITH_PARAMETER = (WRITE_MODE, WRITE_OUTPUT_PORT, WRITE_KEYBOARD_OUTPUT, WRITE_AUXILIARY_OUTPUT, WRITE_AUXILIARY)

SELF_TEST_PASSED = 0x55
CLOCK_FINE = 0x00
INPUT_PORT = 0x80  # not locked
OUTPUT_PORT_RESET, OUTPUT_PORT_A20, OUTPUT_PORT_AUXILIARY = 0x01, 0x02, 0x20

SWITCHES = {  # command: mode bits off, mode bits on
    KEYBOARD_DISABLE: (0, MODE_KEYBOARD_OFF),
    KEYBOARD_ENABLE: (MODE_KEYBOARD_OFF, 0),
    AUXILIARY_DISABLE: (0, MODE_AUXILIARY_OFF),
    AUXILIARY_ENABLE: (MODE_AUXILIARY_OFF, 0),
    SELF_TEST: (0, MODE_SYSTEM),
}

KEY_PAUSE_NS = 8_000_000
KEYS_KEPT = 1024  # typed ahead; of what goes beyond, releases alone are kept
RELEASES_KEPT = 2 * KEYS_KEPT
ANSWERS_KEPT = 64  # that a guest asked for and did not take

LARGEST_KEY = 0x2FF
OWN = Fields(
    typed=queue(group(number(LARGEST_KEY), FLAG), RELEASES_KEPT),
    own=queue(group(BYTE, FLAG), ANSWERS_KEPT, bounded=True),
    output=optional(group(BYTE, FLAG)),
    mode=BYTE,
    ram=data(32, into=bytearray),
    pending=optional(BYTE),
    last_was_command=FLAG,
    last=BYTE,
    levels=group(FLAG, FLAG, into=list),
    pause_ns=number(KEY_PAUSE_NS),
)
STATE = Fields(controller=ANYTHING, keyboard=ANYTHING, mouse=ANYTHING, translator=ANYTHING)


class I8042:
    """The controller. `reset` is called when the guest pulses the processor's reset line.

    `key` and `mouse_moved` are called from viewers' threads.
    """

    def __init__(self, irq: IrqLine, mouse_irq: IrqLine, clock: Clock, reset: Callable[[], None]) -> None:
        self._irqs = irq, mouse_irq
        self._clock = clock
        self._reset = reset
        self._lock = Lock()
        self._keyboard = Keyboard()
        self._mouse = Mouse()
        self._translator = Translator()
        self._typed: deque[tuple[int, bool]] = deque()
        self._next_key_ns = 0
        self._pausing = False
        self._own: deque[tuple[int, bool]] = deque(
            maxlen=ANSWERS_KEPT
        )  # the controller's answers: byte, whether as if from the mouse
        self._output: tuple[int, bool] | None = None
        self._mode = MODE_INTERRUPT | MODE_SYSTEM | MODE_TRANSLATE | MODE_AUXILIARY_OFF
        self._ram = bytearray(32)
        self._pending: int | None = None  # a command that waits for its parameter
        self._last_was_command = False
        self._last = 0
        self._levels = [False, False]

    # ---- people ---------------------------------------------------------------------------------

    def key(self, code: int, down: bool) -> None:
        """Linux's code of a key that is pressed, held (down again) or released."""
        with self._lock:
            if len(self._typed) < (KEYS_KEPT if down else RELEASES_KEPT):
                self._typed.append((code, down))
            self._type()
            self._update()

    def mouse_moved(self, right: int, down: int, wheel: int, buttons: Click) -> None:
        """`wheel` is in notches towards the user; `buttons` are those now down."""
        with self._lock:
            self._mouse.move(right, down, wheel, buttons)
            self._update()

    @property
    def leds(self) -> int:
        """1 scroll lock, 2 num lock, 4 caps lock."""
        return self._keyboard.leds

    def _type(self) -> None:
        """Gives the keyboard the next key, if the last was long enough ago and taken."""
        if not self._typed or self._pausing or not self._keyboard.has_room():
            return
        wait = self._next_key_ns - self._clock.monotonic_ns()
        if wait > 0:
            self._pausing = True
            self._clock.after(wait, self._go_on_typing)
            return
        self._next_key_ns = self._clock.monotonic_ns() + KEY_PAUSE_NS
        self._keyboard.key(*self._typed.popleft())
        if self._typed:
            self._type()

    def _go_on_typing(self) -> None:
        with self._lock:
            self._pausing = False
            self._type()
            self._update()

    # ---- saved and restored ---------------------------------------------------------------------

    def state(self) -> State:
        with self._lock:
            return {"controller": OWN.of(self)} | {name: part.state() for name, part in self._parts().items()}

    def restore(self, state: State, /) -> None:
        saved = STATE.check(state)
        with self._lock:
            OWN.put(self, saved["controller"])
            for name, part in self._parts().items():
                part.restore(saved[name])
            for irq, level in zip(self._irqs, self._levels, strict=True):
                irq.set(level)
            self._type()

    @property
    def _pause_ns(self) -> int:
        """Until the next key may come."""
        return max(self._next_key_ns - self._clock.monotonic_ns(), 0)

    @_pause_ns.setter
    def _pause_ns(self, pause: int) -> None:
        self._next_key_ns = self._clock.monotonic_ns() + pause

    def _parts(self) -> dict[str, Stateful]:
        return {"keyboard": self._keyboard, "mouse": self._mouse, "translator": self._translator}

    # ---- the guest ------------------------------------------------------------------------------

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
        if self._output is not None:
            status |= STATUS_OUTPUT_FULL | (STATUS_AUXILIARY if self._output[1] else 0)
        return status

    def _take(self) -> int:
        if self._output is not None:
            self._last, auxiliary = self._output
            self._output = None
            self._drive(auxiliary, False)  # each byte is one edge
            self._type()
            self._update()
        return self._last

    def _put(self, value: int, *, auxiliary: bool = False) -> None:
        self._own.append((value, auxiliary))

    def _update(self) -> None:
        """Fills the output buffer, and tells the processor."""
        while self._output is None:
            if self._own:
                self._output = self._own.popleft()
            elif self._keyboard.waits and not self._mode & MODE_KEYBOARD_OFF:
                self._take_from_keyboard()
            elif not self._mode & MODE_AUXILIARY_OFF and self._mouse.waits:
                self._output = self._mouse.take(), True
            else:
                break
        full, auxiliary = self._output is not None, self._output is not None and self._output[1]
        self._drive(False, full and not auxiliary and bool(self._mode & MODE_INTERRUPT))
        self._drive(True, full and auxiliary and bool(self._mode & MODE_AUXILIARY_INTERRUPT))

    def _take_from_keyboard(self) -> None:
        value: int | None = self._keyboard.take()
        if self._mode & MODE_TRANSLATE and value is not None:
            value = self._translator.translate(value)
        self._output = None if value is None else (value, False)

    def _drive(self, auxiliary: bool, level: bool) -> None:
        if level != self._levels[auxiliary]:
            self._levels[auxiliary] = level
            self._irqs[auxiliary].set(level)

    def _command(self, command: int) -> bool:
        """Tells whether the processor is reset."""
        self._pending = None
        if command in WITH_PARAMETER or WRITE_MODE <= command < WRITE_MODE + 32:
            self._pending = command
            return False
        if READ_MODE <= command < READ_MODE + 32:
            self._put(self._mode if command == READ_MODE else self._ram[command - READ_MODE])
            return False
        output = OUTPUT_PORT_RESET | OUTPUT_PORT_A20
        if self._output is not None:
            output |= OUTPUT_PORT_AUXILIARY if self._output[1] else STATUS_UNLOCKED
        answers = {
            AUXILIARY_TEST: CLOCK_FINE,
            SELF_TEST: SELF_TEST_PASSED,
            KEYBOARD_TEST: CLOCK_FINE,
            READ_INPUT_PORT: INPUT_PORT,
            READ_OUTPUT_PORT: output,
        }
        if command == SELF_TEST:
            self._own.clear()
            self._output = None
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
            self._keyboard.command(value)
        elif pending == WRITE_MODE:
            self._mode = value
        elif WRITE_MODE < pending < WRITE_MODE + 32:
            self._ram[pending - WRITE_MODE] = value
        elif pending == WRITE_OUTPUT_PORT:
            return not value & OUTPUT_PORT_RESET
        elif pending in (WRITE_KEYBOARD_OUTPUT, WRITE_AUXILIARY_OUTPUT):
            self._put(value, auxiliary=pending == WRITE_AUXILIARY_OUTPUT)
        else:  # WRITE_AUXILIARY
            self._mode &= ~MODE_AUXILIARY_OFF
            self._mouse.command(value)
        return False
