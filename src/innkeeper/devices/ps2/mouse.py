"""A PS/2 mouse that becomes an IntelliMouse (a wheel) or an Explorer (two more buttons) when it hears the knock.

Spec: IBM PS/2 Hardware Interface Technical Reference, "Mouse"; Microsoft's "IntelliMouse" supplement to it. It sends
no faster than the host takes: movements add up meanwhile, so the sample rate is only remembered.
"""

from collections import deque
from enum import IntFlag

from innkeeper.bus import Fields, State
from innkeeper.bus.state import BYTE, FLAG, data, group, number, optional, queue

ACK, RESEND, ERROR, SELF_TEST_PASSED = 0xFA, 0xFE, 0xFC, 0xAA
SCALE_1_TO_1, SCALE_2_TO_1, RESOLUTION, STATUS, STREAM, READ = 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xEB
WRAP_OFF, WRAP_ON, REMOTE, IDENTIFY, RATE = 0xEC, 0xEE, 0xF0, 0xF2, 0xF3
ENABLE, DISABLE, DEFAULTS, SEND_AGAIN, RESET = 0xF4, 0xF5, 0xF6, 0xFE, 0xFF

PLAIN_ID, WHEEL_ID, EXPLORER_ID = 0, 3, 4
KNOCKS: dict[tuple[int, ...], int] = {(200, 100, 80): WHEEL_ID, (200, 200, 80): EXPLORER_ID}
# A packet's first byte: 5 y negative │ 4 x negative │ 3 always │ 2 middle │ 1 right │ 0 left
ALWAYS, X_NEGATIVE, Y_NEGATIVE = 0x08, 0x10, 0x20
# A status: 6 remote │ 5 enabled │ 4 scaling 2:1 │ 2-0 left, middle, right
STATUS_REMOTE, STATUS_ENABLED, STATUS_SCALED = 0x40, 0x20, 0x10

FARTHEST = 255  # a packet's movement
WHEEL_FARTHEST = 7  # an Explorer's
ANSWERS_KEPT = 64
CHANGES_KEPT = 64
MOVED_KEPT = 1 << 14


class Click(IntFlag):
    """Buttons as packets have them, and an Explorer's two in its fourth byte's places."""

    LEFT, RIGHT, MIDDLE = 0x01, 0x02, 0x04
    BACK, FORWARD = 0x10, 0x20


DISTANCE = number(MOVED_KEPT, least=-MOVED_KEPT)
BUTTONS = number(0x37)
STATE = Fields(
    answers=queue(BYTE, ANSWERS_KEPT, bounded=True),
    packets=data(most=4, into=deque),
    buttons=BUTTONS,
    changes=queue(BUTTONS, CHANGES_KEPT),
    moved=group(DISTANCE, DISTANCE, DISTANCE, into=list),
    parameter_of=optional(BYTE),
    last=BYTE,
    id=number(EXPLORER_ID),
    rates=queue(BYTE, 3, bounded=True),
    wrapping=FLAG,
    rate=BYTE,
    resolution=number(3),
    scaled=FLAG,
    remote=FLAG,
    enabled=FLAG,
)

MAIN_BUTTONS = Click.LEFT | Click.RIGHT | Click.MIDDLE


class Mouse:
    """Its owner locks."""

    def __init__(self) -> None:
        self._answers: deque[int] = deque(maxlen=ANSWERS_KEPT)
        self._packets: deque[int] = deque()
        self._buttons = 0
        self._changes: deque[int] = deque()  # of the buttons, not told yet: none may be lost
        self._moved = [0, 0, 0]  # right, up, wheel towards the user
        self._parameter_of: int | None = None
        self._last = 0
        self._id = PLAIN_ID
        self._rates: deque[int] = deque(maxlen=3)
        self._wrapping = False
        self._defaults()

    def _defaults(self) -> None:
        self._rate, self._resolution = 100, 2
        self._scaled = self._remote = self._enabled = False
        self._moved = [0, 0, 0]
        self._changes.clear()
        self._packets.clear()

    def state(self) -> State:
        return STATE.of(self)

    def restore(self, state: State, /) -> None:
        STATE.put(self, state)

    @property
    def waits(self) -> bool:
        """Whether there is anything to take."""
        if self._enabled and not self._remote and not self._packets and (any(self._moved) or self._changes):
            self._packets.extend(self._packet())
        return bool(self._answers or self._packets)

    def take(self) -> int:
        """The next byte for the host."""
        self._last = (self._answers or self._packets).popleft()
        return self._last

    def move(self, right: int, down: int, wheel: int, buttons: int) -> None:
        """The mouse was moved, its wheel turned towards the user; `buttons` are those now down (`Click`)."""
        for axis, distance in enumerate((right, -down, wheel)):
            self._moved[axis] = max(-MOVED_KEPT, min(MOVED_KEPT, self._moved[axis] + distance))
        before = self._changes[-1] if self._changes else self._buttons
        if buttons != before:
            if len(self._changes) == CHANGES_KEPT:
                self._changes.pop()  # what is down now matters more
            self._changes.append(buttons)
        if not self._enabled and not self._remote:  # nobody listens: where it is now is where it starts
            self._moved = [0, 0, 0]
            self._buttons = buttons
            self._changes.clear()

    def command(self, value: int) -> None:
        """A byte from the host."""
        if (asked := self._parameter_of) is not None:
            self._parameter_of = None
            self._parameter(asked, value)
        elif self._wrapping and value not in (WRAP_OFF, RESET):
            self._answers.append(value)
        elif value in (RESOLUTION, RATE):
            self._parameter_of = value
            self._answers.append(ACK)
        elif value == SEND_AGAIN:
            self._answers.append(self._last)
        else:
            self._plain_command(value)

    def _plain_command(self, value: int) -> None:
        answer: tuple[int, ...] = (ACK,)
        match value:
            case _ if value in (SCALE_1_TO_1, SCALE_2_TO_1):
                self._scaled = value == SCALE_2_TO_1
            case _ if value in (STREAM, REMOTE):
                self._remote = value == REMOTE
                self._packets.clear()
            case _ if value in (WRAP_ON, WRAP_OFF):
                self._wrapping = value == WRAP_ON
            case _ if value in (ENABLE, DISABLE):
                self._enabled = value == ENABLE
                self._packets.clear()
            case _ if value == STATUS:
                answer = (ACK, self._status(), self._resolution, self._rate)
            case _ if value == READ:
                answer = (ACK, *self._packet())
            case _ if value == IDENTIFY:
                answer = (ACK, self._id)
            case _ if value == DEFAULTS:
                self._defaults()
            case _ if value == RESET:
                self._defaults()
                self._id, self._wrapping = PLAIN_ID, False
                self._rates.clear()
                answer = (ACK, SELF_TEST_PASSED, PLAIN_ID)
            case _:
                answer = (RESEND,)
        self._answers.extend(answer)

    def _parameter(self, asked: int, value: int) -> None:
        if asked == RESOLUTION:
            if value > 3:
                self._answers.append(RESEND)
                return
            self._resolution = value
        else:
            self._rate = value
            self._rates.append(value)
            self._id = KNOCKS.get(tuple(self._rates), self._id)
        self._answers.append(ACK)

    def _status(self) -> int:
        status = STATUS_REMOTE * self._remote | STATUS_ENABLED * self._enabled | STATUS_SCALED * self._scaled
        left, right, middle = (bool(self._buttons & one) for one in (Click.LEFT, Click.RIGHT, Click.MIDDLE))
        return status | left << 2 | middle << 1 | right

    def _packet(self) -> tuple[int, ...]:
        """What happened since the last one, as far as it fits; the rest goes with the next."""
        if self._changes:
            self._buttons = self._changes.popleft()
        right, up = (self._taken(axis, FARTHEST) for axis in (0, 1))
        first = ALWAYS | self._buttons & MAIN_BUTTONS
        first |= X_NEGATIVE * (right < 0) | Y_NEGATIVE * (up < 0)
        packet = (first, right & 0xFF, up & 0xFF)
        if self._id == PLAIN_ID:
            self._moved[2] = 0
            return packet
        wheel = self._taken(2, WHEEL_FARTHEST)
        if self._id == EXPLORER_ID:
            return (*packet, wheel & 0x0F | self._buttons & ~MAIN_BUTTONS)
        return (*packet, wheel & 0xFF)

    def _taken(self, axis: int, farthest: int) -> int:
        distance = max(-farthest, min(farthest, self._moved[axis]))
        self._moved[axis] -= distance
        return distance
