"""Viewers' keys and pointers as virtio events."""

from dataclasses import dataclass, field
from typing import cast

from innkeeper import _core
from innkeeper.devices.virtio import VirtioInputs
from innkeeper.display.input import Button

KEY_A = 30


@dataclass
class Recorder:
    """In the place of a core's device."""

    TABLET_RANGE = 0x7FFF
    listening: bool = True
    sent: list[list[tuple[int, int, int]]] = field(default_factory=list)

    def send(self, events: list[tuple[int, int, int]], /) -> None:
        self.sent.append(events)


def inputs(keyboard: Recorder | None, tablet: Recorder | None) -> VirtioInputs:
    return VirtioInputs(cast("_core.VirtioInput | None", keyboard), cast("_core.VirtioInput | None", tablet))


def test_a_key_that_is_down_again_repeats() -> None:
    keyboard = Recorder()
    host = inputs(keyboard, None)
    for down in (True, True, False):
        host.key(KEY_A, down)

    assert keyboard.sent == [[(1, KEY_A, 1)], [(1, KEY_A, 2)], [(1, KEY_A, 0)]]
    assert (host.takes_keys(), host.takes_pointer()) == (True, False)


def test_a_pointer_moves_in_the_tablets_own_range_with_its_buttons_and_wheel() -> None:
    tablet = Recorder()
    host = inputs(None, tablet)
    host.pointer(1023, 0, 1024, 768, Button.LEFT | Button.WHEEL_UP)
    host.pointer(-5, 9999, 1024, 768, 0)

    assert tablet.sent[0] == [(3, 0, 0x7FFF), (3, 1, 0), (1, 0x110, 1), (2, 8, 1)]
    assert tablet.sent[1] == [(3, 0, 0), (3, 1, 0x7FFF), (1, 0x110, 0)]


def test_nobody_listens_before_the_driver_does() -> None:
    assert not inputs(Recorder(listening=False), None).takes_keys()
    assert not inputs(None, None).takes_pointer()
