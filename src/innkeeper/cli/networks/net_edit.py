"""`inn net-edit`: a network's XML in an editor, kept once it is right."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.editing import edit
from innkeeper.cli.networks import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    networks = common.networks(arguments)
    name = networks.info(common.name_of(arguments))["name"]
    done = edit(networks.xml(name, inactive=True), f"{name}.xml", networks.define)
    if done is None:
        results.say(arguments, f"Network {name} XML configuration not changed.", {"name": name, "changed": False})
    else:
        common.tell(done["unknown"], done["notes"])
        results.say(arguments, f"Network {done['name']} XML configuration edited.", {"name": name, "changed": True})
    return Status.DONE
