"""`inn snapshot-create`: takes a snapshot of a machine: its disks, and its memory while it runs."""

import argparse

from innkeeper.cli.snapshots import common
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import read, say, tell_unknown, words
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    words(parser, common.DOMAIN, {"xmlfile": "libvirt's snapshot XML; - is the standard input"})
    common.taking(parser)
    parser.add_argument("--redefine", action="store_true", help="keep that there is one, as its whole XML says")
    parser.add_argument("--current", action="store_true", help="with --redefine: as the current one")


def execute(arguments: argparse.Namespace) -> int:
    if arguments.redefine and arguments.xmlfile is None:
        raise ConfigError("--redefine needs the snapshot's XML; name its file")
    if arguments.current and not arguments.redefine:
        raise ConfigError("--current is for --redefine; a snapshot that is taken is the current one")
    xml = "<domainsnapshot/>" if arguments.xmlfile is None else read(arguments.xmlfile)
    if arguments.redefine:
        taken = common.snapshots(arguments).redefine(arguments.domain, xml, current=arguments.current)
    else:
        taken = common.take(arguments, xml)
    tell_unknown(taken["unknown"], kept=False)
    source = f" from '{arguments.xmlfile}'" if arguments.xmlfile is not None else ""
    say(arguments, f"Domain snapshot {taken['name']} created{source}", taken)
    return Status.DONE
