"""`inn domblkerror`: the disks of a running machine whose last request failed."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    found = common.manager(arguments).blocks.errors(common.name_of(arguments))
    if arguments.json:
        common.show_json(found)
    elif not found:
        say("No errors found\n")
    else:
        print("".join(f"{each['disk']}: {each['error']}\n" for each in found))
    return Status.DONE
