"""`inn net …`: networks in a few words; each word is also a verb of virsh's, `inn net-…`."""

import argparse

from innkeeper.cli import documents
from innkeeper.cli.networks import VERBS, common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say

WORDS = {
    "list": "net-list",
    "start": "net-start",
    "stop": "net-destroy",
    "destroy": "net-destroy",
    "define": "net-define",
    "undefine": "net-undefine",
    "info": "net-info",
    "dumpxml": "net-dumpxml",
    "edit": "net-edit",
    "autostart": "net-autostart",
    "update": "net-update",
    "leases": "net-dhcp-leases",
    "tap": "net-tap",
}
CREATE = "make a network, keep it and start it: a bridge with an address, NAT, DHCP and DNS"


def register(parser: argparse.ArgumentParser) -> None:
    from innkeeper.cli import load

    words = parser.add_subparsers(metavar="WORD", required=True)
    create = words.add_parser("create", help=CREATE, description=CREATE, allow_abbrev=False)
    register_create(create)
    create.set_defaults(do=execute_create)
    for word, name in WORDS.items():
        each = words.add_parser(word, help=VERBS[name], description=VERBS[name], allow_abbrev=False)
        verb = load(name)
        verb.register(each)
        each.set_defaults(do=verb.execute)


def register_create(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("name", metavar="NAME", help="of the network, and of its bridge; or an XML file, kept and started")
    add("--address", action="append", default=[], metavar="IP/PREFIX", help="the host's, IPv4 or IPv6; repeat for more")
    add("--mode", metavar="MODE", help="nat (default with an address), route, open, isolated, bridge, or user")
    add("--bridge", metavar="NAME", help="the bridge's name, if it is another; with --mode bridge one that is there")
    dhcp = parser.add_mutually_exclusive_group()
    dhcp.add_argument("--dhcp", metavar="FIRST-LAST", help="addresses to give away (default: the rest of the subnet)")
    dhcp.add_argument("--no-dhcp", action="store_true", help="give none away")
    add("--host", action="append", default=[], metavar="MAC=IP[,NAME]", help="a machine that always gets that address")
    add("--domain", metavar="NAME", help="the DNS domain of its machines")
    add("--dev", metavar="INTERFACE", help="the only interface of this host that leads out")
    add("--mtu", type=int, metavar="BYTES", help="of the bridge, told by DHCP")
    add("--autostart", action="store_true", help="start it with the manager")
    add("--no-start", action="store_true", help="only keep it")
    common.owner(parser)


def execute_create(arguments: argparse.Namespace) -> int:
    done = common.networks(arguments).make(
        document(arguments),
        common.user_of(arguments),
        autostart=arguments.autostart,
        start=not arguments.no_start,
    )
    common.tell(done["unknown"], done["notes"])
    say(f"Network {done['name']} {'defined' if arguments.no_start else 'created'}\n")
    return Status.DONE


def document(arguments: argparse.Namespace) -> str:
    from innkeeper.manager.networks.plain import Words, document_of

    if "/" in arguments.name or arguments.name.endswith(".xml"):
        return documents.read(arguments.name)
    return document_of(
        Words(
            name=arguments.name,
            addresses=tuple(arguments.address),
            mode=arguments.mode,
            bridge=arguments.bridge,
            dhcp=arguments.dhcp,
            no_dhcp=arguments.no_dhcp,
            hosts=tuple(arguments.host),
            domain=arguments.domain,
            device=arguments.dev,
            mtu=arguments.mtu,
        )
    )


def execute(arguments: argparse.Namespace) -> int:
    status: int = arguments.do(arguments)
    return status
