"""The documents that commands make of their arguments: little is imported here, as each command waits for it.

Spec: libvirt's "Storage pool and volume XML format".
"""

from xml.etree import ElementTree as ET


def describe_pool(name: str, path: str) -> str:
    """A pool of type `dir`."""
    root = ET.Element("pool", type="dir")
    ET.SubElement(root, "name").text = name
    ET.SubElement(ET.SubElement(root, "target"), "path").text = path
    return indented(root)


def describe_volume(wanted: dict[str, str | None]) -> str:
    """Of `wanted` it knows name, capacity, allocation, format, backing and backing_format."""
    root = ET.Element("volume")
    for tag in ("name", "capacity", "allocation"):
        if wanted.get(tag) is not None:
            ET.SubElement(root, tag).text = wanted[tag]
    if wanted.get("format") is not None:
        ET.SubElement(ET.SubElement(root, "target"), "format", type=str(wanted["format"]))
    if wanted.get("backing") is not None:
        store = ET.SubElement(root, "backingStore")
        ET.SubElement(store, "path").text = wanted["backing"]
        if wanted.get("backing_format") is not None:
            ET.SubElement(store, "format", type=str(wanted["backing_format"]))
    return indented(root)


def indented(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
