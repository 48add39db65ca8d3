"""What the verbs that start machines have in common: a console at once, a machine that ends with its verb, what cannot be had."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from innkeeper.cli.machines import console
from innkeeper.cli.parser import refuse
from innkeeper.cli.status import Status
from innkeeper.errors import HostError
from innkeeper.manager.client import connect

if TYPE_CHECKING:
    from innkeeper.manager.service import Manager


def options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--console", action="store_true", help="connect to its serial console at once")
    add("--paused", action="store_true", help="it stands still, until inn resume lets it go on")
    add("--autodestroy", action="store_true", help="pull its plug when this command ends, however it does")
    add("--reset-nvram", action="store_true", help="its UEFI variables are its firmware's again")
    refuse(parser, {"--pass-fds N": "it is for containers; a machine has no descriptors of its host's"})


@contextmanager
def held(arguments: argparse.Namespace, manager: Manager, name: str) -> Iterator[None]:
    """With `--autodestroy` the machine is ended afterwards, by the manager if this process is killed."""
    if not arguments.autodestroy:
        yield
        return
    with ExitStack() as stack:
        holding = stack.enter_context(connect(system=arguments.system)).domains.hold(name)
        stack.callback(holding.close)
        next(holding)
        try:
            yield
        finally:
            with suppress(HostError):  # it has ended by itself
                manager.domains.destroy(name)


def go_on(arguments: argparse.Namespace, manager: Manager, name: str) -> int:
    """With a machine that was just started."""
    return console.connect(manager, name, console.escape_of(arguments)) if arguments.console else Status.DONE
