"""`inn domjobabort`: gives up what a machine is busy with; it goes on."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.parser import refuse
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    common.as_json(parser)
    refuse(parser, {"--postcopy": "it is for machines that move to another host, which those here do not"})


def execute(arguments: argparse.Namespace) -> int:
    name = common.name_of(arguments)
    common.manager(arguments).jobs.abort(name)
    if arguments.json:
        common.show_json({"name": name})
    return Status.DONE
