"""`inn vol-create-from`: makes a volume that an XML file describes, with the contents of another."""

import argparse
from pathlib import Path

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common
from innkeeper.cli.words import tell_unknown


def register(parser: argparse.ArgumentParser) -> None:
    required = {"file": "libvirt's storage volume XML of the new one; - is the standard input", **common.VOLUME}
    common.words(parser, common.POOL | required)
    parser.add_argument("--inputpool", metavar="POOL", help="the storage pool that the other is in, if not the same")
    parser.add_argument("--validate", action="store_true", help="it is always checked")
    parser.add_argument("--prealloc-metadata", action="store_true", help="with all of qcow2's tables")
    parser.add_argument(
        "--reflink", action="store_true", help="share blocks with the other; an error where that cannot be"
    )


def execute(arguments: argparse.Namespace) -> int:
    vol, xml = common.absolute(arguments.vol, arguments.inputpool), common.read(arguments.file)
    work = common.volumes(arguments).create_from(
        arguments.pool,
        xml,
        vol,
        arguments.inputpool,
        reflink=arguments.reflink,
        prealloc_metadata=arguments.prealloc_metadata,
    )
    made = common.follow("Copying volume", work)
    tell_unknown(made["unknown"], kept=False)
    common.say(arguments, f"Vol {made['name']} created from input vol {Path(vol).name}", made)
    return Status.DONE
