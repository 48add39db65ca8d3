"""Debian's shell at a terminal: every key is the guest's save one, and however it ends the terminal is as it was."""

import signal

import pytest

from innkeeper.cli.status import Status
from innkeeper.image import KernelImage

from .conftest import SHELL, Initramfs
from .inn import LIMIT_S, Terminal, guest

pytestmark = [pytest.mark.boot, pytest.mark.slow]

PASTED_ROWS = 120


def test_a_shell_answers_and_the_escape_key_leaves_it(debian: KernelImage, initramfs: Initramfs) -> None:
    with Terminal(*guest(debian.vmlinuz, initramfs(SHELL))) as terminal:
        terminal.line.wait_for("/root # ", limit_s=LIMIT_S)
        assert terminal.modes() != terminal.modes_before

        assert terminal.line.ask("echo $((6 * 7))") == "42\n"
        interrupts_what_runs(terminal)
        takes_a_paste(terminal)
        terminal.line.type("\x1d")

        assert terminal.status() == Status.INTERRUPTED
        assert terminal.modes() == terminal.modes_before
        assert terminal.has_left_nothing()


def interrupts_what_runs(terminal: Terminal) -> None:
    terminal.line.type("sh -c 'echo NOW; sleep 1000'\r")
    terminal.line.wait_for("\r\nNOW\r\n")  # from here on ^C is a signal, not a key of the shell's editor
    terminal.line.type("\x03")
    terminal.line.wait_for("/root # ")


def takes_a_paste(terminal: Terminal) -> None:
    """Faster than anyone types: nothing may get lost."""
    rows = [f"{number:05} some words of a row\r" for number in range(PASTED_ROWS)]
    terminal.line.type("sh -c 'echo NOW; cat >pasted'\r")
    terminal.line.wait_for("\r\nNOW\r\n")
    terminal.line.type("".join(rows) + "\x04")
    terminal.line.wait_for("/root # ")
    assert terminal.line.ask("wc -l <pasted; tail -n 1 pasted") == f"{len(rows)}\n{rows[-1][:-1]}\n"


def test_leaving_the_shell_powers_off(debian: KernelImage, initramfs: Initramfs) -> None:
    with Terminal(*guest(debian.vmlinuz, initramfs(SHELL))) as terminal:
        terminal.line.wait_for("/root # ", limit_s=LIMIT_S)
        terminal.line.type("exit\r")

        assert terminal.status() == Status.DONE
        assert terminal.modes() == terminal.modes_before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_boot_and_restores_the_terminal(
    debian: KernelImage, initramfs: Initramfs, number: signal.Signals
) -> None:
    with Terminal(*guest(debian.vmlinuz, initramfs(SHELL)), "--vcpus", "2") as terminal:
        terminal.line.wait_for("Linux version", limit_s=LIMIT_S)
        assert terminal.modes() != terminal.modes_before

        terminal.signal(number)

        assert terminal.status() == -number
        assert terminal.modes() == terminal.modes_before
        assert terminal.has_left_nothing()


def test_a_terminal_that_is_closed_ends_the_run(debian: KernelImage, initramfs: Initramfs) -> None:
    with Terminal(*guest(debian.vmlinuz, initramfs(SHELL))) as terminal:
        terminal.line.wait_for("Linux version", limit_s=LIMIT_S)

        terminal.hang_up()

        assert terminal.status() == -signal.SIGHUP
        assert terminal.has_left_nothing()
