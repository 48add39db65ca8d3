"""`inn net-info`: what a network is."""

import argparse

from innkeeper.cli.machines.common import as_json, facts_text, show_json
from innkeeper.cli.networks import common
from innkeeper.cli.networks.net_list import yes
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser)
    as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    info = common.networks(arguments).info(common.name_of(arguments))
    if arguments.json:
        show_json(info)
        return Status.DONE
    facts = {
        "Name": info["name"],
        "UUID": info["uuid"],
        "Active": yes(info["active"]),
        "Persistent": yes(info["persistent"]),
        "Autostart": yes(info["autostart"]),
        "Forward": info["mode"],
    }
    if info["bridge"] is not None:
        facts["Bridge"] = info["bridge"]
    if info["addresses"]:
        facts["Addresses"] = ", ".join(info["addresses"])
    print(facts_text(facts))
    return Status.DONE
