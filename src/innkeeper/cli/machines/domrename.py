"""`inn domrename`: another name for a machine that is shut off."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "new-name", "what it shall be called")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    new = arguments.new_name
    before = common.manager(arguments).descriptions.rename(common.name_of(arguments), new)
    if arguments.json:
        common.show_json({"name": new, "before": before})
    else:
        say("Domain successfully renamed\n")
    return Status.DONE
