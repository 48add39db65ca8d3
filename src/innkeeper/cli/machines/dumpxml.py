"""`inn dumpxml`: a machine's XML, as it is kept; of one that runs, as its devices, its memory and its vCPUs are now."""

import argparse

from innkeeper.cli import results, xml_output
from innkeeper.cli.machines import common
from innkeeper.cli.parser import refuse
from innkeeper.cli.status import Status

REFUSED = {
    "--update-cpu": "a machine's processor is that of its engine, which inn dominfo names",
    "--migratable": "machines are not moved to other hosts while they run; inn save and inn restore move one that is saved",
}


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--inactive", action="store_true", help="just as it is kept, though the machine runs")
    xml_output.options(parser, secrets=True)
    refuse(parser, REFUSED)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    xml = common.manager(arguments).hardware.xml(common.name_of(arguments), inactive=arguments.inactive)
    xml = xml_output.chosen(arguments, xml)
    results.put(arguments, xml, {"xml": xml})
    return Status.DONE
