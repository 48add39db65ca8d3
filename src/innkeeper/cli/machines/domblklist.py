"""`inn domblklist`: a machine's disks."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.manager.elements import attribute, parse


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    root = parse(common.manager(arguments).domains.xml(common.name_of(arguments)), "the domain")
    rows = []
    for disk in root.findall("devices/disk"):
        source = attribute(disk, "source", "file") or attribute(disk, "source", "dev")
        rows.append((attribute(disk, "target", "dev") or "-", source or "-"))
    common.show(arguments, ("Target", "Source"), rows)
    return Status.DONE
