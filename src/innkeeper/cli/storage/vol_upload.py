"""`inn vol-upload`: puts a file's bytes into a volume."""

import argparse
from pathlib import Path

from innkeeper.cli.machines.common import show_json
from innkeeper.cli.status import Status
from innkeeper.cli.storage import common
from innkeeper.manager.storage.sizes import scaled, size


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.VOLUME | {"file": "the file"})
    common.in_pool(parser)
    parser.add_argument(
        "--offset", default="0", metavar="BYTES", help="where in the volume to begin (default: %(default)s)"
    )
    parser.add_argument("--length", metavar="BYTES", help="the most that the file may have")
    parser.add_argument("--sparse", action="store_true", help="keep holes: they are kept anyway")


def execute(arguments: argparse.Namespace) -> int:
    common.fill(arguments)
    length = None if arguments.length is None else scaled(arguments.length, "length")
    work = common.volumes(arguments).upload(
        common.absolute(arguments.vol, arguments.pool),
        str(Path(arguments.file).absolute()),
        arguments.pool,
        offset=size(arguments.offset, "offset"),
        length=length,
    )
    done = common.follow("Uploading", work)
    if arguments.json:
        show_json(done)
    return Status.DONE
