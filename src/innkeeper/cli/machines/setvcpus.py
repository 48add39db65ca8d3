"""`inn setvcpus`: how many vCPUs a machine has, now or from its next start on."""

import argparse

from innkeeper.cli.machines import changing, common
from innkeeper.cli.parser import operand, refuse
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "count", "how many")
    parser.add_argument("--maximum", action="store_true", help="how many it may have at most")
    parser.add_argument(
        "--hotpluggable", action="store_true", help="taken for virsh's sake: all but the first vCPU can be given back"
    )
    refuse(parser, {"--guest": "it wants an agent in the guest; without it the guest is asked by ACPI"})
    changing.flags(parser, persistent=False)
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    count = changing.count_of(arguments.count, "count")
    hardware = common.manager(arguments).hardware
    name, flags = common.name_of(arguments), changing.flags_of(arguments)
    changed = hardware.set_vcpus(name, count, flags, maximum=arguments.maximum)
    if arguments.json:
        common.show_json(changed)
    return Status.DONE
