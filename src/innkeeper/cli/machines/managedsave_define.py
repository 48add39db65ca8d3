"""`inn managedsave-define`: another XML for a machine that goes on with its next start."""

import argparse

from innkeeper.cli.machines import common, saving
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import read, say, words


def register(parser: argparse.ArgumentParser) -> None:
    xml = "the machine's XML, with other paths of disks and the like"
    words(parser, {"domain": "the machine's name or UUID", "xml": xml})
    saving.going_on(parser)


def execute(arguments: argparse.Namespace) -> int:
    name = common.manager(arguments).saves.managed_define(
        arguments.domain, read(arguments.xml), paused=saving.paused(arguments)
    )
    say(arguments, f"Managed save state file of domain '{name}' updated.", {"name": name})
    return Status.DONE
