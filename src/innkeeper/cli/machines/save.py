"""`inn save`: a running machine into a file, all of it; it goes on with `inn restore`."""

import argparse
from pathlib import Path

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import follow, say, words


def register(parser: argparse.ArgumentParser) -> None:
    words(parser, {"domain": "the machine's name or UUID", "file": "where to save it to"})


def execute(arguments: argparse.Namespace) -> int:
    file = Path(arguments.file).absolute()  # the manager works elsewhere
    name = follow("saving", common.manager(arguments).saves.save(arguments.domain, str(file)))
    say(arguments, f"\nDomain '{name}' saved to {arguments.file}", {"name": name, "file": str(file)})
    return Status.DONE
