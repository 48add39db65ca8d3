"""The keyboard controller, as kernels probe it."""

import pytest

from innkeeper.devices import i8042 as chip
from innkeeper.devices.i8042 import COMMAND, DATA, I8042
from innkeeper.devices.ps2 import keyboard, mouse
from innkeeper.testing import FakeClock, FakeIrqLine


class Controller:
    def __init__(self) -> None:
        self.irq, self.mouse_irq, self.clock = FakeIrqLine(), FakeIrqLine(), FakeClock()
        self.resets = 0
        self.chip = I8042(self.irq, self.mouse_irq, self.clock, self.reset)

    def reset(self) -> None:
        self.resets += 1

    def command(self, value: int, *parameters: int) -> None:
        self.chip.write(COMMAND, 1, value)
        for parameter in parameters:
            self.send(parameter)

    def send(self, value: int) -> None:
        self.chip.write(DATA, 1, value)

    @property
    def status(self) -> int:
        return self.chip.read(COMMAND, 1)

    def answers(self) -> list[int]:
        taken = []
        while self.status & chip.STATUS_OUTPUT_FULL:
            taken.append(self.chip.read(DATA, 1))
        return taken


@pytest.fixture
def controller() -> Controller:
    return Controller()


def test_pulsing_the_reset_line_resets(controller: Controller) -> None:
    controller.command(0xFE)

    assert controller.resets == 1


@pytest.mark.parametrize("command", [0xF1, 0xFD, 0xFF])
def test_pulsing_other_lines_does_not_reset(controller: Controller, command: int) -> None:
    controller.command(command)

    assert controller.resets == 0


def test_the_output_port_resets_too(controller: Controller) -> None:
    controller.command(chip.WRITE_OUTPUT_PORT, 0x03)
    assert controller.resets == 0

    controller.command(chip.WRITE_OUTPUT_PORT, 0x02)

    assert controller.resets == 1


def test_the_self_test_passes(controller: Controller) -> None:
    controller.command(chip.SELF_TEST)

    assert controller.answers() == [chip.SELF_TEST_PASSED]
    assert controller.status & chip.STATUS_SYSTEM


def test_the_ports_tell_who_is_there(controller: Controller) -> None:
    controller.command(chip.KEYBOARD_TEST)
    controller.command(chip.AUXILIARY_TEST)

    assert controller.answers() == [chip.CLOCK_FINE, chip.CLOCK_FINE]


def test_the_mode_byte_and_the_ram_behind_it_remember(controller: Controller) -> None:
    controller.command(chip.WRITE_MODE, chip.MODE_TRANSLATE)
    controller.command(chip.WRITE_MODE + 5, 0x5A)
    controller.command(chip.READ_MODE)
    controller.command(chip.READ_MODE + 5)

    assert controller.answers() == [chip.MODE_TRANSLATE, 0x5A]


def test_switches_show_in_the_mode_byte(controller: Controller) -> None:
    controller.command(chip.KEYBOARD_DISABLE)
    controller.command(chip.AUXILIARY_ENABLE)
    controller.command(chip.READ_MODE)
    (mode,) = controller.answers()

    assert mode & chip.MODE_KEYBOARD_OFF
    assert not mode & chip.MODE_AUXILIARY_OFF


def test_the_keyboard_identifies_itself(controller: Controller) -> None:
    controller.send(keyboard.IDENTIFY)
    assert controller.answers() == [keyboard.ACK, 0xAB, 0x41]  # 83h, translated

    controller.command(chip.WRITE_MODE, 0)
    controller.send(keyboard.IDENTIFY)
    assert controller.answers() == [keyboard.ACK, 0xAB, 0x83]


def test_the_keyboard_resets_and_passes_its_test(controller: Controller) -> None:
    controller.send(keyboard.RESET)

    assert controller.answers() == [keyboard.ACK, keyboard.SELF_TEST_PASSED]


def test_a_keyboard_command_takes_its_parameter(controller: Controller) -> None:
    controller.command(chip.WRITE_MODE, 0)
    controller.send(keyboard.SET_LEDS)
    controller.send(0x07)
    controller.send(keyboard.SCAN_SET)
    controller.send(0)

    assert controller.answers() == [keyboard.ACK, keyboard.ACK, keyboard.ACK, keyboard.ACK, 2]
    assert controller.chip.leds == 7


def test_a_keyboard_command_that_does_not_exist_is_to_be_sent_again(controller: Controller) -> None:
    controller.send(0x12)

    assert controller.answers() == [keyboard.RESEND]


def test_looped_bytes_come_back_as_if_from_their_port(controller: Controller) -> None:
    controller.command(chip.WRITE_AUXILIARY_OUTPUT, 0x5A)
    assert controller.status & chip.STATUS_AUXILIARY
    assert controller.answers() == [0x5A]

    controller.command(chip.WRITE_KEYBOARD_OUTPUT, 0xA5)

    assert not controller.status & chip.STATUS_AUXILIARY
    assert controller.answers() == [0xA5]


def test_the_mouse_answers_at_the_auxiliary_port_with_its_own_interrupt(controller: Controller) -> None:
    controller.command(chip.WRITE_MODE, chip.MODE_AUXILIARY_INTERRUPT)
    controller.command(chip.WRITE_AUXILIARY, mouse.IDENTIFY)

    assert controller.status & chip.STATUS_AUXILIARY
    assert controller.answers() == [mouse.ACK, mouse.PLAIN_ID]
    assert (controller.irq.edges, controller.mouse_irq.edges) == (0, 2)


def test_each_keyboard_byte_is_an_edge(controller: Controller) -> None:
    controller.send(keyboard.IDENTIFY)
    assert controller.irq.edges == 1

    controller.answers()

    assert controller.irq.edges == 3
    assert not controller.irq.is_high()


def test_no_interrupt_comes_when_the_mode_byte_forbids_it(controller: Controller) -> None:
    controller.command(chip.WRITE_MODE, 0)
    controller.send(keyboard.IDENTIFY)

    assert controller.irq.edges == 0


def test_an_empty_output_buffer_repeats_its_last_byte(controller: Controller) -> None:
    controller.command(chip.SELF_TEST)
    controller.answers()

    assert controller.chip.read(DATA, 1) == chip.SELF_TEST_PASSED


def test_the_status_tells_commands_from_data(controller: Controller) -> None:
    controller.command(chip.READ_MODE)
    assert controller.status & chip.STATUS_COMMAND

    controller.send(keyboard.SCAN_ON)

    assert not controller.status & chip.STATUS_COMMAND


@pytest.mark.parametrize("command", range(256))
def test_every_command_with_every_kind_of_parameter_is_survived(controller: Controller, command: int) -> None:
    for parameter in (0x00, 0x5A, 0xFF):
        controller.command(command, parameter, command)
        assert all(0 <= answer <= 0xFF for answer in controller.answers())


def test_keys_reach_the_guest_one_after_the_other(controller: Controller) -> None:
    for code in (30, 48):
        controller.chip.key(code, True)
        controller.chip.key(code, False)
    assert controller.answers() == [0x1E]

    taken = []
    for _ in range(4):
        controller.clock.advance(chip.KEY_PAUSE_NS)
        taken += controller.answers()

    assert taken == [0x9E, 0x30, 0xB0]
    assert not controller.clock.waiting


def test_no_key_is_lost_and_none_sticks_while_the_guest_does_not_look(controller: Controller) -> None:
    for _ in range(3 * chip.KEYS_KEPT):
        controller.chip.key(103, True)
        controller.chip.key(103, False)
    controller.clock.advance(10**12)
    taken = []
    while codes := controller.answers():
        taken += codes
        controller.clock.advance(chip.KEY_PAUSE_NS)

    assert taken[:4] == [0xE0, 0x48, 0xE0, 0xC8]
    assert chip.KEYS_KEPT <= len(taken) <= 4 * chip.RELEASES_KEPT
    assert taken[-2:] == [0xE0, 0xC8]


def test_a_guest_that_asks_and_does_not_listen_is_survived(controller: Controller) -> None:
    for _ in range(10_000):
        controller.command(chip.READ_MODE)
        controller.send(keyboard.IDENTIFY)
        controller.command(chip.WRITE_AUXILIARY, mouse.STATUS)

    assert len(controller.answers()) <= 300


def test_movement_comes_in_packets_that_add_up(controller: Controller) -> None:
    controller.command(chip.WRITE_AUXILIARY, mouse.ENABLE)
    controller.answers()
    controller.chip.mouse_moved(300, -10, 0, mouse.Click.LEFT)
    controller.chip.mouse_moved(1, 1, 0, mouse.Click(0))

    assert controller.answers() == [0x09, 255, 10, 0x28, 46, 0xFF]


@pytest.mark.parametrize(
    ("knock", "identity", "packet"),
    [
        ((), mouse.PLAIN_ID, [0x08, 0, 0]),
        ((200, 100, 80), mouse.WHEEL_ID, [0x08, 0, 0, 0xFF]),
        ((200, 200, 80), mouse.EXPLORER_ID, [0x08, 0, 0, 0x1F]),
    ],
)
def test_a_knock_makes_the_mouse_a_better_one(
    controller: Controller, knock: tuple[int, ...], identity: int, packet: list[int]
) -> None:
    for rate in knock:
        controller.command(chip.WRITE_AUXILIARY, mouse.RATE)
        controller.command(chip.WRITE_AUXILIARY, rate)
    controller.command(chip.WRITE_AUXILIARY, mouse.ENABLE)
    controller.answers()
    controller.command(chip.WRITE_AUXILIARY, mouse.IDENTIFY)
    assert controller.answers() == [mouse.ACK, identity]

    controller.chip.mouse_moved(0, 0, -1, mouse.Click.BACK)

    assert controller.answers() == packet


def test_a_remote_mouse_speaks_when_asked(controller: Controller) -> None:
    controller.command(chip.WRITE_AUXILIARY, mouse.REMOTE)
    controller.chip.mouse_moved(5, 0, 0, mouse.Click.RIGHT)
    assert controller.answers() == [mouse.ACK]

    controller.command(chip.WRITE_AUXILIARY, mouse.READ)
    assert controller.answers() == [mouse.ACK, 0x0A, 5, 0]

    controller.command(chip.WRITE_AUXILIARY, mouse.STATUS)
    assert controller.answers() == [mouse.ACK, mouse.STATUS_REMOTE | 1, 2, 100]
