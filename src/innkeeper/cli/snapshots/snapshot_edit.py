"""`inn snapshot-edit`: a snapshot's XML in an editor, kept once it is right."""

import argparse

from innkeeper.cli.editing import edit
from innkeeper.cli.snapshots import common
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import words
from innkeeper.cli.words import say
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    words(parser, common.DOMAIN, common.SNAPSHOT)
    parser.add_argument("--current", action="store_true", help="the current one; or have the one that is named be that")
    name = parser.add_mutually_exclusive_group()
    name.add_argument("--rename", action="store_true", help="let its name be changed")
    name.add_argument("--clone", action="store_true", help="with another name it is another one, beside this")


def execute(arguments: argparse.Namespace) -> int:
    if arguments.snapshotname is None and not arguments.current:
        raise ConfigError("no snapshot is named; say which, or --current")
    snapshots = common.snapshots(arguments)
    name = snapshots.info(arguments.domain, arguments.snapshotname)["name"]
    current = arguments.current and arguments.snapshotname is not None

    def keep(xml: str) -> str:
        return snapshots.revise(
            arguments.domain, name, xml, current=current, rename=arguments.rename, clone=arguments.clone
        )

    done = edit(snapshots.xml(arguments.domain, name), f"{name}.xml", keep)
    if done is None:
        if current:
            snapshots.set_current(arguments.domain, name)
        say(f"Snapshot {name} XML configuration not changed.\n")
    elif done != name:
        say(f"Snapshot {name} {'cloned' if arguments.clone else 'renamed'} to {done}.\n")
    else:
        say(f"Snapshot {name} edited.\n")
    return Status.DONE
