"""`inn domhostname`: what a guest calls itself."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--source", metavar="SOURCE", help="agent: the guest's agent, which is the only one that knows")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    if arguments.source not in (None, "agent"):
        raise ConfigError(f"source is {arguments.source!r}; it can be agent, as leases are not asked for names here")
    name = common.manager(arguments).agents.host_name(common.name_of(arguments))
    if arguments.json:
        common.show_json({"hostname": name})
    else:
        print(f"{name}\n")
    return Status.DONE
