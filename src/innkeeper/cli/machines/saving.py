"""What the verbs that save machines and let them go on have in common."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import TYPE_CHECKING

from innkeeper.cli.storage.common import follow, read
from innkeeper.errors import HostError
from innkeeper.manager.client import connect

if TYPE_CHECKING:
    from innkeeper.manager.storage.work import Work


def going_on(parser: argparse.ArgumentParser) -> None:
    """Whether a saved machine goes on, or stands still."""
    add = parser.add_mutually_exclusive_group().add_argument
    add("--running", action="store_true", help="it goes on, even if it stood still when it was saved")
    add("--paused", action="store_true", help="it stands still, until inn resume lets it go on")


def paused(arguments: argparse.Namespace) -> bool | None:
    """None if nothing is said: then it is as it was."""
    return True if arguments.paused else False if arguments.running else None


def around_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bypass-cache",
        action="store_true",
        help="have none of the file stay in this host's memory, though that is slower",
    )


def another_xml(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--xml", metavar="FILE", help="the machine's XML with other paths of disks and the like, by which it goes on"
    )


def read_xml(arguments: argparse.Namespace) -> str | None:
    return None if arguments.xml is None else read(arguments.xml)


def verbose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--verbose", action="store_true", help="say how far it is, where no terminal shows it too")


def follow_save(arguments: argparse.Namespace, name: str, work: Work[str]) -> str:
    """Who interrupts it wants the machine to go on."""
    try:
        return follow("saving", work, verbose=arguments.verbose)
    except KeyboardInterrupt:
        with connect(system=arguments.system) as another, suppress(HostError):  # it may be saved by now
            another.jobs.abort(name)
        raise
