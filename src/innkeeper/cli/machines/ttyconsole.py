"""`inn ttyconsole`: where a running machine's serial console is."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.errors import HostError


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    name, line = common.name_of(arguments), common.ask(arguments, "console")
    if line["path"] is None:
        raise HostError(f"the serial console of {name} is {line['kind']} of its inn run, which nobody else can open")
    results.show(arguments, line["path"], "path")
    return Status.DONE
