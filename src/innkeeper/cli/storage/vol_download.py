"""`inn vol-download`: copies a volume's bytes into a file."""

import argparse

from innkeeper.cli.machines.common import show_json
from innkeeper.cli.status import Status
from innkeeper.cli.storage import common, transferring


def register(parser: argparse.ArgumentParser) -> None:
    transferring.register(parser, file="the file to write", length="how much to copy; by default all")


def execute(arguments: argparse.Namespace) -> int:
    work = common.volumes(arguments).download(*transferring.places(arguments), **transferring.span(arguments))
    copied = common.follow("Downloading", work)
    if arguments.json:
        show_json({"bytes": copied})
    return Status.DONE
