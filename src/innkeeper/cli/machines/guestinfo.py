"""`inn guestinfo`: what a guest's agent knows of it."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status

KINDS = {
    "user": "who is logged in",
    "os": "which system it is",
    "timezone": "its time zone",
    "hostname": "what it calls itself",
    "filesystem": "what is mounted",
    "disk": "its disks",
    "interface": "its network interfaces",
}
COLUMNS = 20


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    for kind, text in KINDS.items():
        parser.add_argument(f"--{kind}", action="store_true", help=text)
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    kinds = [kind for kind in KINDS if getattr(arguments, kind)]
    found = common.manager(arguments).agents.describe(common.name_of(arguments), kinds)
    if arguments.json:
        common.show_json(found)
    else:
        print("".join(f"{name:<{COLUMNS}}: {value}\n" for name, value in found.items()))
    return Status.DONE
