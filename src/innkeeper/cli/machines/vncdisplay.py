"""`inn vncdisplay`: where a running machine's screen is shown."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.errors import HostError

FIRST_PORT = 5900


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)


def execute(arguments: argparse.Namespace) -> int:
    name, addresses = common.name_of(arguments), common.ask(arguments, "info")["vnc"]
    if not addresses:
        raise HostError(f"machine {name} shows its screen to nobody; give it graphics of type vnc")
    for address in addresses:
        host, colon, port = address.rpartition(":")
        print(f"{host}:{int(port) - FIRST_PORT}" if colon and port.isdigit() else address)
    print()
    return Status.DONE
