"""`inn domdisplay`: where a running machine's screen is shown, as an address for viewers."""

import argparse
from typing import Any
from urllib.parse import quote

from innkeeper.cli import results
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError, HostError

FIRST_PORT = 5900
VNC = "vnc"


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--type", metavar="TYPE", help="only displays of this type, vnc")
    parser.add_argument("--include-password", action="store_true", help="with the password, if there is one")
    parser.add_argument("--all", action="store_true", help="all of them, not the first alone")
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    if arguments.type not in (None, VNC):
        raise ConfigError(f"display type is {arguments.type!r}; machines have displays of type {VNC}")
    name, displays = common.name_of(arguments), common.ask(arguments, "graphics")
    if not displays:
        raise HostError(f"machine {name} has no graphics of type vnc; inn view {name} shows its screen all the same")
    wanted = displays if arguments.all else displays[:1]
    shown = [address(display, secret=arguments.include_password) for display in wanted]
    results.put(arguments, "\n".join(shown), {"displays": shown})
    return Status.DONE


def address(display: dict[str, Any], *, secret: bool) -> str:
    """A URI, whose port is a display's number as virsh has it.

    >>> display = {"address": "127.0.0.1:5901", "socket": False, "username": None, "password": "a/b"}
    >>> address(display, secret=True)
    'vnc://:a%2Fb@127.0.0.1:1'
    """
    user, password = display["username"] or "", display["password"] if secret else None
    who = f"{quote(user, safe='')}{':' + quote(password, safe='') if password else ''}@" if user or password else ""
    if display["socket"]:
        return f"vnc+unix://{who}{display['address'].removeprefix('unix:')}"
    host, _, port = display["address"].rpartition(":")
    return f"vnc://{who}{host}:{int(port) - FIRST_PORT}"
