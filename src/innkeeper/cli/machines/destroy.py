"""`inn destroy`: ends the machine at once, as a power cut does."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--graceful", action="store_true", help="give up rather than kill a process that does not end")
    parser.add_argument("--remove-logs", action="store_true", help="what its process has said too")
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    name = common.manager(arguments).domains.destroy(
        common.name_of(arguments), graceful=arguments.graceful, remove_log=arguments.remove_logs
    )
    results.say(arguments, f"Domain '{name}' destroyed", {"name": name})
    return Status.DONE
