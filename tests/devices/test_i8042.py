"""The keyboard controller, as kernels probe it."""

import pytest

from innkeeper.devices import i8042 as chip
from innkeeper.devices.i8042 import COMMAND, DATA, I8042
from innkeeper.testing import FakeIrqLine


class Controller:
    def __init__(self) -> None:
        self.irq = FakeIrqLine()
        self.resets = 0
        self.chip = I8042(self.irq, self.reset)

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

    assert controller.answers() == [chip.KEYBOARD_CLOCK_FINE, chip.AUXILIARY_CLOCK_LOW]


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
    controller.send(chip.IDENTIFY)

    assert controller.answers() == [chip.ACK, *chip.KEYBOARD_ID]


def test_the_keyboard_resets_and_passes_its_test(controller: Controller) -> None:
    controller.send(chip.KEYBOARD_RESET)

    assert controller.answers() == [chip.ACK, chip.KEYBOARD_PASSED]


def test_a_keyboard_command_takes_its_parameter(controller: Controller) -> None:
    controller.send(chip.SET_LEDS)
    controller.send(0x07)
    controller.send(chip.SCAN_SET)
    controller.send(0)

    assert controller.answers() == [chip.ACK, chip.ACK, chip.ACK, chip.ACK, 2]


def test_a_keyboard_command_that_does_not_exist_is_to_be_sent_again(controller: Controller) -> None:
    controller.send(0x12)

    assert controller.answers() == [chip.RESEND]


def test_looped_bytes_come_back_as_if_from_their_port(controller: Controller) -> None:
    controller.command(chip.WRITE_AUXILIARY_OUTPUT, 0x5A)
    assert controller.status & chip.STATUS_AUXILIARY
    assert controller.answers() == [0x5A]

    controller.command(chip.WRITE_KEYBOARD_OUTPUT, 0xA5)

    assert not controller.status & chip.STATUS_AUXILIARY
    assert controller.answers() == [0xA5]


def test_nobody_answers_at_the_auxiliary_port(controller: Controller) -> None:
    controller.command(chip.WRITE_AUXILIARY, chip.IDENTIFY)

    assert controller.answers() == [chip.RESEND]


def test_each_keyboard_byte_is_an_edge(controller: Controller) -> None:
    controller.send(chip.IDENTIFY)
    assert controller.irq.edges == 1

    controller.answers()

    assert controller.irq.edges == 3
    assert not controller.irq.is_high()


def test_no_interrupt_comes_when_the_mode_byte_forbids_it(controller: Controller) -> None:
    controller.command(chip.WRITE_MODE, 0)
    controller.send(chip.IDENTIFY)

    assert controller.irq.edges == 0


def test_an_empty_output_buffer_repeats_its_last_byte(controller: Controller) -> None:
    controller.command(chip.SELF_TEST)
    controller.answers()

    assert controller.chip.read(DATA, 1) == chip.SELF_TEST_PASSED


def test_the_status_tells_commands_from_data(controller: Controller) -> None:
    controller.command(chip.READ_MODE)
    assert controller.status & chip.STATUS_COMMAND

    controller.send(chip.SCAN_ON)

    assert not controller.status & chip.STATUS_COMMAND


@pytest.mark.parametrize("command", range(256))
def test_every_command_with_every_kind_of_parameter_is_survived(controller: Controller, command: int) -> None:
    for parameter in (0x00, 0x5A, 0xFF):
        controller.command(command, parameter, command)
        assert all(0 <= answer <= 0xFF for answer in controller.answers())
