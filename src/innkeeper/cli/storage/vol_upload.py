"""`inn vol-upload`: puts a file's bytes into a volume."""

import argparse

from innkeeper.cli.machines.common import show_json
from innkeeper.cli.status import Status
from innkeeper.cli.storage import common, transferring


def register(parser: argparse.ArgumentParser) -> None:
    transferring.register(parser, file="the file", length="the most that the file may have")


def execute(arguments: argparse.Namespace) -> int:
    work = common.volumes(arguments).upload(*transferring.places(arguments), **transferring.span(arguments))
    volume = common.follow("Uploading", work)
    if arguments.json:
        show_json(volume)
    return Status.DONE
