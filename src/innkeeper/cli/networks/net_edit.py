"""`inn net-edit`: a network's XML in an editor, kept once it is right."""

import argparse

from innkeeper.cli.editing import edit
from innkeeper.cli.networks import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser)


def execute(arguments: argparse.Namespace) -> int:
    networks = common.networks(arguments)
    name = networks.info(common.name_of(arguments))["name"]
    done = edit(networks.xml(name, inactive=True), f"{name}.xml", networks.define)
    if done is None:
        say(f"Network {name} XML configuration not changed.\n")
    else:
        common.tell(done["unknown"], done["notes"])
        say(f"Network {done['name']} XML configuration edited.\n")
    return Status.DONE
