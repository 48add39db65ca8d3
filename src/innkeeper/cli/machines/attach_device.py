"""`inn attach-device`: gives a machine the device that an XML file describes."""

import argparse
from pathlib import Path

from innkeeper.cli.machines import changing, common
from innkeeper.cli.status import Status
from innkeeper.errors import HostError


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    changing.operand(parser, "file", "the XML of an interface or a disk")
    changing.flags(parser)


def execute(arguments: argparse.Namespace) -> int:
    path = Path(changing.word(arguments, "file"))
    try:
        xml = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise HostError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    changed = common.manager(arguments).hardware.attach(common.name_of(arguments), xml, changing.flags_of(arguments))
    changing.tell(changed, "Device", "attached")
    return Status.DONE
