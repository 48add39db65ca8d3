"""`net-update`: one element of a network's document added, changed or removed.

Spec: virsh(1), net-update. Sections that a network can be told of while it is active: DHCP hosts and DNS hosts. DHCP ranges, forwarding
interfaces, the bridge and the domain change with its next start. Not here: portgroup, forward-pf, dns-txt and dns-srv, which mean nothing here.
"""

from collections.abc import Callable
from enum import StrEnum
from xml.etree import ElementTree as ET

from innkeeper.errors import ConfigError
from innkeeper.manager.elements import Element, parse
from innkeeper.manager.networks.network_xml import document, root_of

Same = Callable[[Element, Element], bool]


class Command(StrEnum):
    """What is to be done; `add` is `add-last`."""

    ADD = "add"
    ADD_LAST = "add-last"
    ADD_FIRST = "add-first"
    DELETE = "delete"
    MODIFY = "modify"


class Section(StrEnum):
    """What it is done to."""

    DHCP_HOST = "ip-dhcp-host"
    DHCP_RANGE = "ip-dhcp-range"
    DNS_HOST = "dns-host"
    FORWARD_INTERFACE = "forward-interface"
    BRIDGE = "bridge"
    DOMAIN = "domain"


LIVE = frozenset({Section.DHCP_HOST, Section.DNS_HOST})
TAGS = {
    Section.DHCP_HOST: "host",
    Section.DHCP_RANGE: "range",
    Section.DNS_HOST: "host",
    Section.FORWARD_INTERFACE: "interface",
    Section.BRIDGE: "bridge",
    Section.DOMAIN: "domain",
}


def updated(text: str, command: Command, section: Section, part: str, parent_index: int | None = None) -> str:
    """The document as it is then. Raises `ConfigError` if it cannot be done."""
    root, given = root_of(text), parse(part, "the element")
    if given.tag != TAGS[section]:
        raise ConfigError(f"the element is a <{given.tag}>; section {section} has a <{TAGS[section]}>")
    if section in (Section.BRIDGE, Section.DOMAIN):
        replace_only(root, given, command, section)
    else:
        change(parent_of(root, section, command, given, parent_index), given, command, section)
    return document(root)


def replace_only(root: Element, given: Element, command: Command, section: Section) -> None:
    """Elements of which a network has one."""
    if command is not Command.MODIFY:
        raise ConfigError(f"section {section} can only be modified; a network has one <{given.tag}>")
    old = root.find(given.tag)
    if old is not None:
        root.remove(old)
    root.append(given)


def parent_of(root: Element, section: Section, command: Command, given: Element, index: int | None) -> Element:
    if section is Section.DNS_HOST:
        return child(root, "dns")
    if section is Section.FORWARD_INTERFACE:
        found = root.find("forward")
        if found is None:
            raise ConfigError("the network is isolated: it has no <forward>, and so no interface that it goes out by")
        return found
    addresses = root.findall("ip")
    if index is not None and not 0 <= index < len(addresses):
        raise ConfigError(f"the network has {len(addresses)} <ip>; there is none with index {index}")
    six = ":" in (given.get("ip") or given.get("start") or "") or given.get("id") is not None
    alike = [ip for ip in addresses if (":" in ip.get("address", "")) == six]
    serving = [ip for ip in alike if ip.find("dhcp") is not None]
    chosen = addresses[index] if index is not None else next(iter(serving or alike), None)
    if chosen is None:
        raise ConfigError(f"the network has no IPv{6 if six else 4} address whose DHCP could have it")
    if command is Command.DELETE and chosen.find("dhcp") is None:
        raise ConfigError("the network has no DHCP there; nothing can be deleted")
    return child(chosen, "dhcp")


def child(parent: Element, tag: str) -> Element:
    found = parent.find(tag)
    return ET.SubElement(parent, tag) if found is None else found


def change(parent: Element, given: Element, command: Command, section: Section) -> None:
    alike = [each for each in parent.findall(given.tag) if is_same(section, each, given)]
    described = ET.tostring(given, encoding="unicode").strip()
    if command in (Command.DELETE, Command.MODIFY):
        if len(alike) != 1:
            how = "nothing like" if not alike else f"{len(alike)} like"
            raise ConfigError(f"section {section} has {how} {described}; say which, as net-dumpxml shows it")
        place = list(parent).index(alike[0])
        parent.remove(alike[0])
        if command is Command.MODIFY:
            parent.insert(place, given)
        return
    if alike:
        raise ConfigError(f"section {section} has {described} already; modify it, or delete it first")
    if command is Command.ADD_FIRST:
        first = next((at for at, each in enumerate(parent) if each.tag == given.tag), len(parent))
        parent.insert(first, given)
    else:
        parent.append(given)


def is_same(section: Section, there: Element, given: Element) -> bool:
    """Whether they are about the same thing: all that both say of it agrees, and they say something both."""
    keys = {
        Section.DHCP_HOST: ("mac", "id", "name", "ip"),
        Section.DHCP_RANGE: ("start", "end"),
        Section.DNS_HOST: ("ip",),
        Section.FORWARD_INTERFACE: ("dev",),
    }[section]
    if section is Section.DHCP_HOST:  # the first key that both have says who it is
        return next((same(there, given, key) for key in keys if there.get(key) and given.get(key)), False)
    return all(same(there, given, key) for key in keys)


def same(there: Element, given: Element, key: str) -> bool:
    return (there.get(key) or "").lower() == (given.get(key) or "").lower()
