"""libvirt's storage pool XML ⇄ pools.

Spec: libvirt's "Storage pool and volume XML format". What has no meaning here stays in the document, and `unknown_parts` names it.
"""

from pathlib import Path
from xml.etree import ElementTree as ET

from innkeeper.errors import ConfigError
from innkeeper.manager.domain_xml import read_uuid
from innkeeper.manager.elements import Element, parse, paths, text_of
from innkeeper.manager.storage.describe import indented
from innkeeper.manager.storage.pool import Pool

UNDERSTOOD = frozenset(
    [
        "name",
        "uuid",
        "capacity",
        "allocation",
        "available",
        "source",
        "target",
        "target/path",
        "target/permissions",
        "target/permissions/mode",
        "target/permissions/owner",
        "target/permissions/group",
        "target/permissions/label",
    ]
)
SIZES = ("capacity", "allocation", "available")


def read_pool(text: str) -> Pool:
    """Raises `ConfigError` for a document that is none, or that asks for what cannot be."""
    root = parse(text, "the pool")
    if root.tag != "pool":
        raise ConfigError(f"the document is a <{root.tag}>; a storage pool is a <pool>")
    kind = root.get("type")
    name = text_of(root, "name")
    if kind != "dir":
        raise ConfigError(f"pool {name or '?'} is of type {kind!r}; pools here are folders, of type 'dir'")
    if name is None:
        raise ConfigError("the pool has no <name>; give it one")
    path = text_of(root, "target/path")
    if path is None:
        raise ConfigError(f"pool {name} has no <target><path>; say which folder it is")
    uuid = text_of(root, "uuid")
    mode = read_mode(root, f"pool {name}")
    normal = Path(path)
    if uuid is None:
        return Pool(name=name, path=normal, mode=mode)
    return Pool(name=name, uuid=read_uuid(uuid), path=normal, mode=mode)


def read_mode(root: Element, what: str) -> int | None:
    """`<target><permissions><mode>0711`, in octal."""
    text = text_of(root, "target/permissions/mode")
    if text is None:
        return None
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise ConfigError(f"the mode of {what} is {text!r}; it must be octal, from 0 to 7777")
    return mode


def unknown_parts(text: str, what: str, understood: frozenset[str]) -> list[str]:
    """The elements that mean nothing here, each place once; below one that is unknown nothing is named."""
    unknown: dict[str, None] = {}
    for path, _ in paths(parse(text, what)):
        hidden = any(path.startswith(f"{each}/") for each in unknown)
        if path not in understood and not hidden:
            unknown[path] = None
    return list(unknown)


def document(pool: Pool, text: str | None = None) -> str:
    """What is stored: the document that was given, with an identity and without what is measured."""
    root = parse(text, "the pool") if text is not None else written(pool)
    for tag in SIZES:
        for part in root.findall(tag):
            root.remove(part)
    uuid = root.find("uuid")
    if uuid is None:
        uuid = ET.Element("uuid")
        root.insert(1, uuid)
    uuid.text = str(pool.uuid)
    return indented(root)


def written(pool: Pool) -> Element:
    """The document that a pool makes by itself."""
    root = ET.Element("pool", type="dir")
    ET.SubElement(root, "name").text = pool.name
    ET.SubElement(root, "uuid").text = str(pool.uuid)
    target = ET.SubElement(root, "target")
    ET.SubElement(target, "path").text = str(pool.path)
    if pool.mode is not None:
        ET.SubElement(ET.SubElement(target, "permissions"), "mode").text = f"{pool.mode:04o}"
    return root


def measured(text: str, sizes: dict[str, int]) -> str:
    """A stored document with what was measured, where libvirt shows it."""
    root = parse(text, "the pool")
    for at, tag in enumerate(SIZES, start=2):
        part = ET.Element(tag, unit="bytes")
        part.text = str(sizes[tag])
        root.insert(at, part)
    return indented(root)
