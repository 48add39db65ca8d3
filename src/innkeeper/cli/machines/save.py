"""`inn save`: a running machine into a file, all of it; it goes on with `inn restore`."""

import argparse
from pathlib import Path

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import fill, follow, mixed


def register(parser: argparse.ArgumentParser) -> None:
    for name, text in (("domain", "the machine's name or UUID"), ("file", "where to save it to")):
        parser.add_argument(f"--{name}", metavar=name.upper(), help=text)
    parser.add_argument("words", nargs="*", metavar="NAME FILE", help="the same, in this order")
    parser.set_defaults(required_words=("domain", "file"), all_words=("domain", "file"))
    mixed(parser)


def execute(arguments: argparse.Namespace) -> int:
    fill(arguments)
    file = Path(arguments.file).absolute()  # the manager works elsewhere
    name = follow("saving", common.manager(arguments).saves.save(arguments.domain, str(file)))
    print(f"\nDomain '{name}' saved to {arguments.file}\n")
    return Status.DONE
