"""`inn domiflist`: a machine's network interfaces."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.manager import read_xml


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    xml = common.manager(arguments).domains.xml(common.name_of(arguments))
    networks = read_xml(xml).machine.networks
    rows = [("-", card.kind.value, card.name or "-", card.model.value, card.mac or "-") for card in networks]
    common.show(arguments, ("Interface", "Type", "Source", "Model", "MAC"), rows)
    return Status.DONE
