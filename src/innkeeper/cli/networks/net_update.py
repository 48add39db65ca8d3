"""`inn net-update`: one element of a network changed, while it is active or for its next start."""

import argparse

from innkeeper.cli import documents, results
from innkeeper.cli.networks import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError

COMMANDS = "add, add-first, add-last, delete or modify"
SECTIONS = "ip-dhcp-host, ip-dhcp-range, dns-host, forward-interface, bridge or domain"


def register(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    common.network(parser)
    operand(parser, "command", COMMANDS)
    operand(parser, "section", SECTIONS)
    operand(parser, "xml", "the element, or a file that holds it")
    add("--parent-index", type=int, metavar="N", help="which <ip> it belongs to, from 0")
    add("--live", action="store_true", help="of the active network")
    add("--config", action="store_true", help="of its definition")
    add(
        "--current", action="store_true", help="of the active network if it is active, else of its definition (default)"
    )
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    if arguments.current and (arguments.live or arguments.config):
        raise ConfigError("--current is given with --live or --config; it means neither")
    element = arguments.xml if arguments.xml.lstrip().startswith("<") else documents.read(arguments.xml)
    done = common.networks(arguments).update(
        arguments.network,
        arguments.command,
        arguments.section,
        element,
        parent_index=arguments.parent_index,
        live=arguments.live,
        config=arguments.config,
    )
    changed = [words for words, is_so in (("persistent config", done["config"]), ("live state", done["live"])) if is_so]
    results.say(arguments, f"Updated network {done['name']} {' and '.join(changed)}", done)
    return Status.DONE
