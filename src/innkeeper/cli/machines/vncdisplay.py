"""`inn vncdisplay`: where a running machine's screen is shown."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.errors import HostError

FIRST_PORT = 5900


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    name, addresses = common.name_of(arguments), common.ask(arguments, "info")["vnc"]
    if not addresses:
        raise HostError(f"machine {name} shows its screen to nobody; give it graphics of type vnc")
    shown = [display(address) for address in addresses]
    results.put(arguments, "\n".join(shown), {"displays": shown})
    return Status.DONE


def display(address: str) -> str:
    """With a display's number for a port, as VNC's viewers have it.

    >>> display("127.0.0.1:5901"), display("unix:/run/vnc")
    ('127.0.0.1:1', 'unix:/run/vnc')
    """
    host, colon, port = address.rpartition(":")
    return f"{host}:{int(port) - FIRST_PORT}" if colon and port.isdigit() else address
