"""`inn dumpxml`: a machine's XML, as it is kept; of one that runs, with as many vCPUs as it has."""

import argparse
from xml.etree import ElementTree as ET

from innkeeper.cli import xml_output
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
    parser.add_argument("--security-info", action="store_true", help="with passwords")
    xml_output.options(parser)
    refuse(parser, REFUSED)


def execute(arguments: argparse.Namespace) -> int:
    xml = common.manager(arguments).hardware.xml(common.name_of(arguments), inactive=arguments.inactive)
    print(xml_output.chosen(arguments, xml if arguments.security_info else without_secrets(xml)) + "\n")
    return Status.DONE


def without_secrets(xml: str) -> str:
    """The same but for passwords.

    >>> without_secrets('<domain><devices><graphics type="vnc" passwd="x" /></devices></domain>')
    '<domain><devices><graphics type="vnc" /></devices></domain>'
    """
    root = ET.fromstring(xml)  # noqa: S314 - our own
    secret = [part for part in root.iter("graphics") if "passwd" in part.attrib]
    for part in secret:
        del part.attrib["passwd"]
    return ET.tostring(root, encoding="unicode") if secret else xml
