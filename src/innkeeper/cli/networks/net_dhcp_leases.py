"""`inn net-dhcp-leases`: the addresses that machines have of a network."""

import argparse
from datetime import datetime

from innkeeper.cli.machines.common import as_json, show_json, table
from innkeeper.cli.networks import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status

HEADS = ("Expiry Time", "MAC address", "Protocol", "IP address", "Hostname", "Client ID or DUID")


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser)
    operand(parser, "mac", "only this machine's", required=False)
    as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    found = common.networks(arguments).leases(common.name_of(arguments), arguments.mac)
    if arguments.json:
        show_json(found)
        return Status.DONE
    rows = [
        (
            when(it["expiry"]),
            it["mac"],
            it["protocol"],
            it["address"],
            it["hostname"] or "-",
            it["client"] or "-",
        )
        for it in found
    ]
    print(table(HEADS, rows))
    return Status.DONE


def when(expiry: int) -> str:
    """In the time of this host."""
    return "never" if expiry == 0 else datetime.fromtimestamp(expiry).astimezone().strftime("%Y-%m-%d %H:%M:%S")
