"""`inn vol-name`: says the name of a volume."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.VOLUME)


def execute(arguments: argparse.Namespace) -> int:
    volume = common.volumes(arguments).info(common.absolute(arguments.vol))
    common.show(arguments, volume["name"], "name")
    return Status.DONE
