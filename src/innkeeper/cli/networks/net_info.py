"""`inn net-info`: what a network is."""

import argparse
import json

from innkeeper.cli.machines.common import as_json, padded
from innkeeper.cli.networks import common
from innkeeper.cli.networks.net_list import yes
from innkeeper.cli.status import Status
from innkeeper.language import translate


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser)
    as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    info = common.networks(arguments).info(common.name_of(arguments))
    if arguments.json:
        print(json.dumps(info, indent=2))
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
    print("".join(f"{padded(translate(name) + ':', 15)} {value}\n" for name, value in facts.items()))
    return Status.DONE
