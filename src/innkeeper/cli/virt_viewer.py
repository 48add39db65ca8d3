"""`inn virt-viewer`: a machine's screen in a window of this desktop, or without one on a page of `inn view`.

Works from virt-viewer(1). The window is remote-viewer's, of the same package; it is told by its standard input where to connect, so that neither a file nor
a command line holds the password.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from innkeeper.cli.machines import common, connection, view
from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.errors import ConfigError, HostError

if TYPE_CHECKING:
    from innkeeper.manager.domains import Domains

VIEWER = "remote-viewer"
LOOK_S = 0.5
HANDED_ON = (  # what remote-viewer understands as well
    (("-f", "--full-screen"), "store_true", "begin with the whole screen"),
    (("-s", "--shared"), "store_true", "let others look as well"),
    (("-k", "--kiosk"), "store_true", "nothing but the machine"),
    (("-v", "--verbose"), "store_true", "say what the viewer does"),
    (("--debug",), "store_true", "say everything that the viewer does"),
    (("-z", "--zoom"), "PERCENT", "the window's size, from 10 to 400"),
    (("--auto-resize",), "always|never", "whether the guest's screen follows the window"),
    (("--cursor",), "auto|local", "who draws the pointer"),
    (("-H", "--hotkeys"), "HOTKEYS", "keys for the viewer itself"),
    (("-K", "--keymap"), "KEYMAP", "keys to be changed or kept back"),
    (("--kiosk-quit",), "never|on-disconnect", "when a kiosk ends"),
)


def register(parser: argparse.ArgumentParser) -> None:
    connection.register(parser, "-c")
    parser.add_argument(
        "domain", nargs="?", metavar="NAME", help="the machine's name or UUID (default: the only one that runs)"
    )
    parser.add_argument("--domain-name", "--uuid", dest="named", metavar="NAME", help="the same")
    parser.add_argument("-w", "--wait", action="store_true", help="wait until the machine runs")
    parser.add_argument(
        "-r", "--reconnect", action="store_true", help="when the machine has ended, wait until it runs again"
    )
    parser.add_argument(
        "-a", "--attach", action="store_true", help="connect without the display's own password, as is always done"
    )
    parser.add_argument("-d", "--direct", action="store_true", help="without a tunnel, as is always done")
    for names, value, words in HANDED_ON:
        if value == "store_true":
            parser.add_argument(*names, action="store_true", help=words)
        else:
            parser.add_argument(*names, metavar=value, help=words)


def execute(arguments: argparse.Namespace) -> int:
    connection.check(arguments)
    domains = common.manager(arguments).domains
    name = name_of(arguments, domains)
    state = domains.state(name)
    if state == view.SHUT_OFF and not arguments.wait:
        raise HostError(f"machine {name} does not run; inn start {name} starts it, --wait waits until it does")
    why = no_window()
    if why is not None:
        say(f"{why}: the screen is on this page", file=sys.stderr)
        return view.serve(arguments, name, state)
    return look(arguments, name)


def name_of(arguments: argparse.Namespace, domains: Domains) -> str:
    given = [str(name) for name in (arguments.domain, arguments.named) if name is not None]
    if len(given) > 1:
        raise ConfigError("two machines are named; say which one")
    if given:
        return given[0]
    names = [listed["name"] for listed in domains.all() if listed["state"] != view.SHUT_OFF]
    if len(names) != 1:
        some = (
            f"several machines run; say which: {', '.join(names)}"
            if names
            else "no machine runs; start one, and say which"
        )
        raise ConfigError(some)
    return names[0]


def no_window() -> str | None:
    """Why no window can be opened, if none can."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no desktop here"
    return None if shutil.which(VIEWER) else f"there is no {VIEWER} here, which the package virt-viewer has"


def options(arguments: argparse.Namespace) -> list[str]:
    """Those for the viewer."""
    words: list[str] = []
    for names, value, _ in HANDED_ON:
        given = getattr(arguments, names[-1].strip("-").replace("-", "_"))
        if given:
            words.append(names[-1] if value == "store_true" else f"{names[-1]}={given}")
    if arguments.zoom is not None and not (arguments.zoom.isdigit() and 10 <= int(arguments.zoom) <= 400):
        raise ConfigError(f"zoom is {arguments.zoom!r}; it must be between 10 and 400")
    return words


def look(arguments: argparse.Namespace, name: str) -> int:
    """Until the window is closed. Raises `HostError` if the viewer fails."""
    from innkeeper.view.target import Target
    from innkeeper.view.viewers import connection_file

    target, command = Target(name, system=arguments.system), [VIEWER, *options(arguments), "-"]
    while True:
        while not target.runs():
            time.sleep(LOOK_S)
        done = subprocess.run(command, input=connection_file(name, target.place()), text=True, check=False)
        if done.returncode:
            raise HostError(
                f"{VIEWER} has failed, with status {done.returncode}; inn view {name} shows the screen in a browser"
            )
        if not arguments.reconnect or target.runs():
            return Status.DONE
