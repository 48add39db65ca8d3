"""`inn version`: which Innkeeper this is."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.language import translate


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--daemon", action="store_true", help="that of the manager's daemon too")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    found = common.manager(arguments).node.version()
    if arguments.json:
        common.show_json(found)
    else:
        text = f"Using library: innkeeper {found['innkeeper']}\nRunning hypervisor: innkeeper {found['innkeeper']} on {found['host']}\n"
        if arguments.daemon:
            text += f"Running against daemon: {found['innkeeper']}\n"
        print(translate(text))
    return Status.DONE
