"""`inn detach-disk`: takes a disk from a machine."""

import argparse

from innkeeper.cli.machines import changing, common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    changing.operand(parser, "target", "the disk: its target, as in vdb, or its file")
    changing.flags(parser)


def execute(arguments: argparse.Namespace) -> int:
    xml = changing.element("disk", {}, ("target", {"dev": changing.word(arguments, "target")}))
    hardware = common.manager(arguments).hardware
    changing.tell(hardware.detach(common.name_of(arguments), xml, changing.flags_of(arguments)), "Disk", "detached")
    return Status.DONE
