"""`inn domcontrol`: whether a running machine can be talked with."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    found = common.manager(arguments).jobs.control(common.name_of(arguments))
    if arguments.json:
        common.show_json(found)
    elif found["state"] in ("ok", "error"):
        print(f"{found['state']}\n")
    else:
        print(f"{found['state']} ({found['seconds']:.3f}s)\n")
    return Status.DONE
