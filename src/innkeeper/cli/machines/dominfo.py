"""`inn dominfo`: what a machine is."""

import argparse
import json

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.manager import read_xml

KIB = 1024


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    row = common.kept(arguments)
    machine = read_xml(row.xml).machine
    facts = {
        "Name": row.name,
        "UUID": str(row.uuid),
        "State": common.state(row.name),
        "CPU(s)": str(machine.vcpus),
        "Max memory": f"{machine.memory_mib * KIB} KiB",
        "Engine": machine.engine,
        "Persistent": "yes",
        "Autostart": "enable" if row.autostart else "disable",
    }
    if arguments.json:
        print(json.dumps(facts, indent=2))
    else:
        print("".join(f"{name + ':':<15} {value}\n" for name, value in facts.items()))
    return Status.DONE
