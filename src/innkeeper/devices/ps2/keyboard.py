"""A PS/2 keyboard with 102 keys: command bytes and keys in, answers and scan codes out.

Spec: IBM PS/2 Hardware Interface Technical Reference, "Keyboard (101- and 102-Key)". Left out: scan-code set 3 and the
commands that are for it alone (they are acknowledged), and repeating by itself: who holds a key down repeats it.
"""

from collections import deque

from innkeeper.bus import Fields, State
from innkeeper.bus.state import BYTE, FLAG, data, number, optional, queue, sequence
from innkeeper.devices.ps2.scancodes import KEY_LEFTALT, KEY_RIGHTALT, SET_1, SET_2, scan_codes

ACK, RESEND, SELF_TEST_PASSED, ECHO_BACK = 0xFA, 0xFE, 0xAA, 0xEE
ID = (0xAB, 0x83)
SET_LEDS, ECHO, SCAN_SET, IDENTIFY, SET_RATE = 0xED, 0xEE, 0xF0, 0xF2, 0xF3
SCAN_ON, SCAN_OFF, DEFAULTS, SEND_AGAIN, RESET = 0xF4, 0xF5, 0xF6, 0xFE, 0xFF
ALL_KEYS = range(0xF7, 0xFB)  # how they repeat, in set 3
ONE_KEY = range(0xFB, 0xFE)  # likewise, and the key follows
WITH_PARAMETER = (SET_LEDS, SCAN_SET, SET_RATE, *ONE_KEY)

ANSWERS_KEPT = 64
BUFFER_BYTES = 16  # of scan codes that nobody has taken yet

STATE = Fields(
    answers=queue(BYTE, ANSWERS_KEPT, bounded=True),
    codes=data(most=4 * BUFFER_BYTES, into=deque),
    parameter_of=optional(BYTE),
    last=BYTE,
    scanning=FLAG,
    set=number(SET_2, least=SET_1),
    alts=sequence(number(KEY_RIGHTALT), 2, set),
    leds=number(7),
)


class Keyboard:
    """Its owner locks."""

    def __init__(self) -> None:
        self._answers: deque[int] = deque(maxlen=ANSWERS_KEPT)
        self._codes: deque[int] = deque()
        self._parameter_of: int | None = None
        self._last = 0
        self._scanning = True
        self._set = SET_2
        self._alts: set[int] = set()
        self._leds = 0

    @property
    def leds(self) -> int:
        """1 scroll lock, 2 num lock, 4 caps lock."""
        return self._leds

    def state(self) -> State:
        return STATE.of(self)

    def restore(self, state: State, /) -> None:
        STATE.put(self, state)

    @property
    def waits(self) -> bool:
        """Whether there is anything to take."""
        return bool(self._answers or self._codes)

    def take(self) -> int:
        """The next byte for the host; an answer passes before what was typed."""
        self._last = (self._answers or self._codes).popleft()
        return self._last

    def has_room(self) -> bool:
        """Whether the buffer takes another key."""
        return len(self._codes) < BUFFER_BYTES // 2

    def key(self, code: int, down: bool) -> None:
        """A key by Linux's code: pressed, held (pressed again) or released."""
        if code in (KEY_LEFTALT, KEY_RIGHTALT):
            (self._alts.add if down else self._alts.discard)(code)
        if self._scanning:
            self._codes.extend(scan_codes(code, self._set, down=down, alt=bool(self._alts)))

    def command(self, value: int) -> None:
        """A byte from the host."""
        if (asked := self._parameter_of) is not None:
            self._parameter_of = None
            if value < SET_LEDS:  # otherwise it is the next command
                self._parameter(asked, value)
                return
        if value in WITH_PARAMETER:
            self._parameter_of = value
            self._answers.append(ACK)
        elif value == ECHO:
            self._answers.append(ECHO_BACK)
        elif value == IDENTIFY:
            self._answers.extend((ACK, *ID))
        elif value in (SCAN_ON, SCAN_OFF, DEFAULTS, RESET):
            self._start_over(scanning=value != SCAN_OFF, keep_set=value == SCAN_ON)
            self._answers.extend((ACK, SELF_TEST_PASSED) if value == RESET else (ACK,))
        elif value == SEND_AGAIN:
            self._answers.append(self._last)
        else:
            self._answers.append(ACK if value in ALL_KEYS else RESEND)

    def _parameter(self, asked: int, value: int) -> None:
        self._answers.append(ACK)
        if asked == SET_LEDS:
            self._leds = value & 7
        elif asked == SCAN_SET and value == 0:
            self._answers.append(self._set)
        elif asked == SCAN_SET and value in (SET_1, SET_2):
            self._set = value

    def _start_over(self, *, scanning: bool, keep_set: bool) -> None:
        self._codes.clear()
        self._scanning = scanning
        if not keep_set:
            self._set = SET_2
