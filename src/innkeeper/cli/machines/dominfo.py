"""`inn dominfo`: what a machine is."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    info = common.manager(arguments).domains.info(common.name_of(arguments))
    facts = {
        "Id": str(info["id"] or "-"),
        "Name": info["name"],
        "UUID": info["uuid"],
        "State": info["state"],
        "CPU(s)": str(info["vcpus"]),
        "Max memory": f"{info['memory_kib']} KiB",
        "Engine": info["engine"],
        "Persistent": "yes",
        "Autostart": "enable" if info["autostart"] else "disable",
    }
    common.show_facts(arguments, facts)
    return Status.DONE
