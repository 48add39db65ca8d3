"""Bytes between a file and a volume: what `vol-upload` and `vol-download` have in common."""

import argparse
from pathlib import Path
from typing import Any

from innkeeper.cli.storage import common
from innkeeper.manager.storage.sizes import scaled, size


def register(parser: argparse.ArgumentParser, *, file: str, length: str) -> None:
    common.words(parser, common.VOLUME | {"file": file})
    common.in_pool(parser)
    parser.add_argument(
        "--offset", default="0", metavar="BYTES", help="where in the volume to begin (default: %(default)s)"
    )
    parser.add_argument("--length", metavar="BYTES", help=length)
    parser.add_argument("--sparse", action="store_true", help="keep holes: they are kept anyway")


def places(arguments: argparse.Namespace) -> tuple[str, str, str | None]:
    """The volume, the file, and the pool if it is named. The manager works elsewhere."""
    volume = common.absolute(arguments.vol, arguments.pool)
    return volume, str(Path(arguments.file).absolute()), arguments.pool


def span(arguments: argparse.Namespace) -> dict[str, Any]:
    length = None if arguments.length is None else scaled(arguments.length, "length")
    return {"offset": size(arguments.offset, "offset"), "length": length}
