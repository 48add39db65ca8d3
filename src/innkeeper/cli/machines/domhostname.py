"""`inn domhostname`: what a guest calls itself."""

import argparse
from pathlib import Path

from innkeeper.cli.machines import common
from innkeeper.cli.machines.domifaddr import LEASES, leased
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError, HostError

AGENT, LEASE = "agent", "lease"


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument(
        "--source",
        metavar="SOURCE",
        help="agent: as the guest's agent says, and if not given; lease: as the guest said when DHCP gave it an address",
    )
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    if arguments.source not in (None, AGENT, LEASE):
        raise ConfigError(f"source is {arguments.source!r}; it can be {AGENT} or {LEASE}")
    if arguments.source == LEASE:
        name = told_by_leases(arguments)
    else:
        name = common.manager(arguments).agents.host_name(common.name_of(arguments))
    if arguments.json:
        common.show_json({"hostname": name})
    else:
        print(f"{name}\n")
    return Status.DONE


def told_by_leases(arguments: argparse.Namespace) -> str:
    """Of the first card whose lease has a name."""
    machine = common.name_of(arguments)
    for card in common.manager(arguments).hardware.cards(machine):
        names = [name for mac, _, name in card["leases"] if mac == card["mac"]]
        names += [name for _, name in leased(card["mac"], Path("/"), LEASES)]
        if found := next((name for name in names if name), None):
            return found
    raise HostError(
        f"no lease says what the guest of {machine} is called; inn domhostname --source agent {machine} asks its agent"
    )
