"""What a definition gets when it is kept: an identity and addresses, so that they stay the same from start to start."""

from uuid import UUID, uuid4
from xml.etree import ElementTree as ET

from innkeeper.manager.domain_xml import OSINFO, read_uuid, read_xml
from innkeeper.manager.elements import parse, text_of
from innkeeper.net import stable_mac

TEXT_OF_METADATA = "libosinfo"


def normalised(text: str) -> str:
    """The same document with a UUID and MAC addresses. Raises `ConfigError` if it describes no machine."""
    read_xml(text)
    ET.register_namespace(TEXT_OF_METADATA, OSINFO)
    root = parse(text, "the domain")
    found = text_of(root, "uuid")
    uuid = read_uuid(found) if found is not None else uuid4()
    if found is None:
        part = ET.Element("uuid")
        part.text = str(uuid)
        root.insert(1, part)
    add_addresses(root, uuid)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def add_addresses(root: ET.Element, uuid: UUID) -> None:
    for index, interface in enumerate(root.findall("devices/interface")):
        if interface.find("mac") is None:
            interface.insert(0, ET.Element("mac", address=stable_mac((str(uuid),), index).hex(":")))
