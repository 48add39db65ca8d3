"""`inn domstate`: whether a machine runs."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import common, reasons
from innkeeper.cli.status import Status
from innkeeper.language import translate


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--reason", action="store_true", help="why, too, as far as that is known")
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    manager, name = common.manager(arguments), common.name_of(arguments)
    state = manager.domains.state(name)
    text = reasons.shown(manager, name, state) if arguments.reason else translate(state)
    results.put(arguments, text, {"state": state, "reason": reasons.reason(manager, name, state)[0]})
    return Status.DONE
