"""`inn managedsave`: saves a running machine where its next start finds it."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import follow
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)


def execute(arguments: argparse.Namespace) -> int:
    name = follow("saving", common.manager(arguments).saves.managed_save(common.name_of(arguments)))
    say(f"\nDomain '{name}' saved until its next start\n")
    return Status.DONE
