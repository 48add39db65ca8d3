"""What follows once the machine runs: a console, or waiting for the end of the installation."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from innkeeper.cli.installing.going import WatchUnavailable
from innkeeper.cli.machines import console
from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.config import ConsoleKind
from innkeeper.errors import ConfigError, HostError

if TYPE_CHECKING:
    from innkeeper.cli.installing.going import Installation
    from innkeeper.manager.service import Manager
    from innkeeper.manager.wire import Descriptor

LOOK_S = 0.2
REDRAW_S = 1.0
COMING_S = 5.0  # until what was installed starts
HEARD_LIMIT = 4096
COLUMNS = 80
CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()].|[^ -~\n\r]")
SHUT_OFF = "shut off"
TEXT, GRAPHICAL, NONE = "text", "graphical", "none"


def mode(arguments: argparse.Namespace) -> str:
    """What to connect to. Raises `ConfigError`."""
    given = arguments.autoconsole
    if given not in (None, TEXT, GRAPHICAL, NONE):
        raise ConfigError(f"--autoconsole is {given!r}; it can be {TEXT}, {GRAPHICAL} or {NONE}")
    if arguments.noautoconsole and given not in (None, NONE):
        raise ConfigError(f"--autoconsole is {given!r}, and --noautoconsole is given; leave out one of them")
    if given is None:
        at_terminal = sys.stdin.isatty() and arguments.wait is None and not arguments.noautoconsole
        given = TEXT if at_terminal else NONE
    if arguments.destroy_on_exit and given == NONE:
        raise ConfigError(
            "--destroy-on-exit is for when the console is left, and none is connected; give --autoconsole text or graphical"
        )
    return str(given)


def follow(arguments: argparse.Namespace, manager: Manager, name: str, installation: Installation | None) -> int:
    """`installation` is that of an installer. Raises `KeyboardInterrupt` or `SystemExit` if it is interrupted while it waits."""
    if mode(arguments) == TEXT:
        at_console(manager, name, installs=installation is not None)
    elif not arguments.quiet:
        say("Domain creation completed." if installation is None else "Domain installation started.", file=sys.stderr)
    if mode(arguments) == GRAPHICAL:
        at_screen(arguments, manager, name)
    if arguments.destroy_on_exit and mode(arguments) != NONE:
        if runs(manager, name):
            manager.domains.destroy(name)
        return Status.DONE
    if arguments.wait is None or arguments.wait == 0:
        return Status.DONE
    return wait(arguments, manager, name, installation)


def at_console(manager: Manager, name: str, *, installs: bool) -> None:
    """The serial console; and that of what was installed, when the installer has ended."""
    console.connect(manager, name)
    if installs and not manager.installations.goes_on(name) and comes(manager, name):
        say("Restarting guest.", file=sys.stderr)
        console.connect(manager, name)


def at_screen(arguments: argparse.Namespace, manager: Manager, name: str) -> None:
    """In a window of this desktop, until that is closed; without one on a page, until ^C ends it. Who does not sit at a terminal, or waits
    for the installer, is told where the screen is.
    """
    from innkeeper.cli import virt_viewer
    from innkeeper.cli.machines import view

    why = virt_viewer.no_window()
    if why is None:
        viewer = argparse.ArgumentParser()
        virt_viewer.register(viewer)
        virt_viewer.look(argparse.Namespace(**vars(viewer.parse_args([name])) | {"system": arguments.system}), name)
    elif arguments.destroy_on_exit or (sys.stdin.isatty() and arguments.wait is None):
        say(f"{why}: the screen is on this page", file=sys.stderr)
        with suppress(KeyboardInterrupt):
            view.serve(arguments, name, manager.domains.state(name))
    else:
        say(f"{why}: {where(manager, name)}", file=sys.stderr)


def where(manager: Manager, name: str) -> str:
    """A machine's screen, in words."""
    from innkeeper.cli.machines.domdisplay import address

    try:
        displays = manager.domains.control(name, "graphics")
    except HostError:
        displays = []  # the machine has just ended; the page waits for its next start
    if not displays:
        return f"inn view {name} shows the screen in a browser"
    return f"inn view {name} shows the screen in a browser, and {address(displays[0], secret=False)} in a viewer"


def runs(manager: Manager, name: str) -> bool:
    """A manager that was killed meanwhile is not what is waited for: the next call starts another."""
    try:
        listed = manager.domains.all()
    except HostError:
        listed = manager.domains.all()
    return any(each["name"] == name and each["state"] != SHUT_OFF for each in listed)


def comes(manager: Manager, name: str) -> bool:
    """Whether the machine is started again by its process."""
    deadline = time.monotonic() + COMING_S
    while time.monotonic() < deadline:
        if runs(manager, name):
            return True
        time.sleep(LOOK_S)
    return False


def wait(arguments: argparse.Namespace, manager: Manager, name: str, installation: Installation | None) -> int:
    """Until the installation has ended; without one, until the machine has."""
    patience = arguments.wait * 60 if arguments.wait > 0 else None
    with Elapsed(manager, name, quiet=arguments.quiet) as elapsed:
        while goes_on(manager, name, installation):
            if patience is not None and elapsed.seconds > patience:
                say(f"the installation goes on after {arguments.wait:g} min; inn console {name}", file=sys.stderr)
                return Status.TIMEOUT
            elapsed.listen()
    if installation is not None and not arguments.quiet:
        minutes, seconds = divmod(round(elapsed.seconds), 60)
        say(f"Domain installation completed after {minutes}:{seconds:02d}.", file=sys.stderr)
    return Status.DONE


def goes_on(manager: Manager, name: str, installation: Installation | None) -> bool:
    """What is waited for, after a moment."""
    if installation is None:
        time.sleep(LOOK_S)
        return runs(manager, name)
    try:
        return installation.goes_on()
    except WatchUnavailable:
        raise
    except HostError as error:
        raise InstallationFailed(str(error)) from error


class InstallationFailed(HostError):  # noqa: N818 - what has happened
    """The machine has ended before its installer had."""


class Elapsed:
    """A line on a terminal: how long it has taken, and what the guest said last on its serial port."""

    def __init__(self, manager: Manager, name: str, *, quiet: bool) -> None:
        self._manager, self._name, self._begun, self._drawn = manager, name, time.monotonic(), 0.0
        self._shown = sys.stderr.isatty() and not quiet
        self._line: Descriptor | None = None
        self._heard = ""

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def __enter__(self) -> Elapsed:  # noqa: PYI034 - it is final
        return self

    def __exit__(self, *_: object) -> None:
        if self._line is not None:
            self._line.close()
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def listen(self) -> None:
        if not self._shown:
            return
        self._receive()
        if time.monotonic() - self._drawn >= REDRAW_S:
            self._draw()

    def _receive(self) -> None:
        """Of a socket, which others can read as well: of a pseudo-terminal each hears but a part."""
        try:
            if self._line is None:
                if self._manager.domains.control(self._name, "console")["kind"] != ConsoleKind.UNIX:
                    return
                self._line = self._manager.domains.line(self._name)
                os.set_blocking(self._line.fileno(), False)
            while data := os.read(self._line.fileno(), HEARD_LIMIT):
                self._heard = (self._heard + data.decode(errors="replace"))[-HEARD_LIMIT:]
        except (HostError, OSError):
            return  # there is nothing to hear so far, or the machine is about to end

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        minutes, seconds = divmod(int(self.seconds), 60)
        words = f"Installing '{self._name}' {minutes}:{seconds:02d}  {last_line(self._heard)}"
        sys.stderr.write(f"\r{words[: width() - 1]}\x1b[K")
        sys.stderr.flush()


def last_line(heard: str) -> str:
    """What was said last, without what moves a cursor.

    >>> last_line("Booting" + chr(10) + chr(27) + "[1mInstalling... 30%")
    'Installing... 30%'
    """
    lines = [line.strip() for line in re.split(r"[\n\r]+", CONTROL.sub("", heard))]
    return next((line for line in reversed(lines) if line), "")


def width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or COLUMNS  # which some terminals do not say
    except OSError:
        return COLUMNS
