"""What a network's definition gets when it is kept: an identity, and a bridge's name if it needs one."""

import socket
from collections.abc import Iterable
from xml.etree import ElementTree as ET

from innkeeper.manager.networks.network_xml import document, read_root, root_of
from innkeeper.net.host.network import OWN_BRIDGE

BRIDGES = "virbr"
BRIDGES_LIMIT = 1000


def normalised(text: str, taken: Iterable[str], before: str | None = None) -> str:
    """The same document with a UUID, and a bridge that is not `taken`; those of the network's document `before`, if it had one.

    Raises `ConfigError` if it describes no network.
    """
    root = root_of(text)
    known = None if before is None else read_root(root_of(before))
    bridge = root.find("bridge")
    mode = "none" if (forward := root.find("forward")) is None else forward.get("mode", "nat")
    if mode in OWN_BRIDGE and (bridge is None or not bridge.get("name")):
        bridge = ET.SubElement(root, "bridge") if bridge is None else bridge
        bridge.set("name", known.bridge if known is not None and known.mode in OWN_BRIDGE else free_bridge(taken))
    if root.find("uuid") is None and known is not None:
        add_text(root, "uuid", str(known.uuid))
    network = read_root(root)
    if root.find("uuid") is None:
        add_text(root, "uuid", str(network.uuid))
    return document(root)


def add_text(root: ET.Element, tag: str, text: str) -> None:
    part = ET.Element(tag)
    part.text = text
    root.insert(1, part)


def free_bridge(taken: Iterable[str]) -> str:
    """A name that no other network has, nor an interface of this host."""
    used = {*taken, *(name for _, name in socket.if_nameindex())}
    return next(name for number in range(BRIDGES_LIMIT + len(used)) if (name := f"{BRIDGES}{number}") not in used)
