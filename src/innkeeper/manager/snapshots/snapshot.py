"""What a snapshot is, and libvirt's snapshot XML.

Spec: libvirt's "Snapshot XML format".
"""

import json
from dataclasses import field
from pathlib import Path
from uuid import UUID
from xml.etree import ElementTree as ET

from innkeeper.errors import ConfigError
from innkeeper.manager.elements import Element, attribute, parse, text_of, whole
from innkeeper.manager.snapshots.places import memory_file
from innkeeper.manager.storage.describe import indented
from innkeeper.manager.storage.pool import brief
from innkeeper.manager.storage.pool_xml import unknown_parts
from innkeeper.records import dataclass

INTERNAL, EXTERNAL, NONE = "internal", "external", "no"
KINDS = (INTERNAL, EXTERNAL, NONE)
SHUT_OFF, DISK_ONLY = "shutoff", "disk-snapshot"
RUNNING, PAUSED = "running", "paused"
ACTIVE = (RUNNING, PAUSED)
"""States with memory."""
NAME_LIMIT = 200
UNDERSTOOD = frozenset(
    [
        "name",
        "description",
        "creationTime",
        "state",
        "parent",
        "parent/name",
        "memory",
        "disks",
        "disks/disk",
        "disks/disk/source",
        "disks/disk/driver",
        "domain",
    ]
)


def check_snapshot_name(name: str) -> str:
    """Raises `ConfigError` unless it can be one: it is also a part of a file's name.

    >>> check_snapshot_name("before the upgrade")
    'before the upgrade'
    """
    if not name.strip() or len(name) > NAME_LIMIT or "/" in name or not name.isprintable():
        raise ConfigError(
            f"a snapshot's name is {brief(name)}; it must be at most {NAME_LIMIT} printable characters without /"
        )
    return name


@dataclass(frozen=True, slots=True)
class Part:
    """One disk's part in a snapshot. `file` is the overlay that was laid over it, of an external one."""

    kind: str
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One snapshot of a machine. `xml` is the machine as it was, whose disks' files hold what is kept."""

    name: str
    description: str = ""
    parent: str | None = None
    created: int
    state: str = SHUT_OFF
    parts: dict[str, Part] = field(default_factory=dict)
    memory: Part | None = None
    xml: str

    @property
    def location(self) -> str:
        parts = [*self.parts.values(), *([self.memory] if self.memory is not None else [])]
        return EXTERNAL if any(part.kind == EXTERNAL for part in parts) else INTERNAL

    @property
    def memory_path(self) -> Path | None:
        """The file with the memory, if there is one."""
        return Path(self.memory.file) if self.memory is not None and self.memory.file is not None else None

    def targets(self, kind: str) -> list[str]:
        return [target for target, part in self.parts.items() if part.kind == kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a new snapshot shall be. `parts` are by target or by source, as far as anything is said of them."""

    name: str | None
    description: str
    parts: dict[str, Part]
    memory: Part | None = None
    unknown: list[str]


def read_request(text: str) -> Request:
    """Raises `ConfigError`."""
    root = parse_snapshot(text)
    name = text_of(root, "name")
    return Request(
        name=check_snapshot_name(name) if name is not None else None,
        description=text_of(root, "description") or "",
        parts=read_parts(root),
        memory=read_memory(root),
        unknown=unknown_parts_of(text),
    )


def parse_snapshot(text: str) -> Element:
    root = parse(text, "the snapshot")
    if root.tag != "domainsnapshot":
        raise ConfigError(f"the document is a <{root.tag}>; a snapshot is a <domainsnapshot>")
    return root


def unknown_parts_of(text: str) -> list[str]:
    found = unknown_parts(text, "the snapshot", UNDERSTOOD)
    return [path for path in found if not path.startswith("domain/")]


def read_parts(root: Element) -> dict[str, Part]:
    parts = {}
    for disk in root.findall("disks/disk"):
        name, kind = disk.get("name"), disk.get("snapshot", "")
        if name is None:
            raise ConfigError("a <disk> of the snapshot has no name; give it that of its target, as in vda")
        if kind not in (*KINDS, ""):
            raise ConfigError(f"the snapshot of disk {name} is {kind!r}; it must be one of {', '.join(KINDS)}")
        if disk.get("type", "file") != "file" or (attribute(disk, "driver", "type") or "qcow2") != "qcow2":
            raise ConfigError(f"the overlay of disk {name} must be a qcow2 file")
        file = attribute(disk, "source", "file")
        if file is not None and not Path(file).is_absolute():
            raise ConfigError(f"the overlay of disk {name} is {file!r}; give its whole path, from / on")
        parts[name] = Part(kind or (EXTERNAL if file is not None else ""), file)
    return parts


def read_memory(root: Element) -> Part | None:
    """None if nothing is said of it. Raises `ConfigError`."""
    kind, file = attribute(root, "memory", "snapshot"), attribute(root, "memory", "file")
    if kind is None and file is None:
        return None
    if kind not in (*KINDS, None):
        raise ConfigError(f"the snapshot's memory is {kind!r}; it must be one of {', '.join(KINDS)}")
    if kind in (INTERNAL, NONE):
        if file is not None:
            raise ConfigError(f"the snapshot's memory is {kind}, so it has no file of its own; leave {file} out")
        return Part(kind)
    if file is None or not Path(file).is_absolute():
        raise ConfigError(f"the file of the snapshot's memory is {file!r}; give its whole path, from / on")
    return Part(EXTERNAL, file)


def read_snapshot(text: str) -> Snapshot:
    """One whose document is all there is of it: for `--redefine`. Raises `ConfigError`."""
    root = parse_snapshot(text)
    name, created, domain = text_of(root, "name"), text_of(root, "creationTime"), root.find("domain")
    if name is None or created is None or domain is None:
        missing = "name" if name is None else "creationTime" if created is None else "domain"
        raise ConfigError(
            f"the snapshot has no <{missing}>; a snapshot that is defined again needs all that its XML had"
        )
    parts, memory, uuid = read_parts(root), read_memory(root), text_of(domain, "uuid")
    if memory is not None and memory.kind == INTERNAL and uuid is not None:
        memory = Part(INTERNAL, str(memory_file(UUID(uuid), name)))
    return Snapshot(
        name=check_snapshot_name(name),
        description=text_of(root, "description") or "",
        parent=text_of(root, "parent/name"),
        created=whole(created, "<creationTime>"),
        state=text_of(root, "state") or SHUT_OFF,
        parts={target: Part(part.kind or NONE, part.file) for target, part in parts.items()},
        memory=memory if memory is not None and memory.file is not None else None,
        xml=indented(domain),
    )


def write_snapshot(snapshot: Snapshot) -> str:
    root = ET.Element("domainsnapshot")
    ET.SubElement(root, "name").text = snapshot.name
    if snapshot.description:
        ET.SubElement(root, "description").text = snapshot.description
    ET.SubElement(root, "state").text = snapshot.state
    if snapshot.parent is not None:
        ET.SubElement(ET.SubElement(root, "parent"), "name").text = snapshot.parent
    ET.SubElement(root, "creationTime").text = str(snapshot.created)
    memory = ET.SubElement(root, "memory", snapshot=snapshot.memory.kind if snapshot.memory is not None else NONE)
    if snapshot.memory is not None and snapshot.memory.kind == EXTERNAL:
        memory.set("file", snapshot.memory.file or "")
    disks = ET.SubElement(root, "disks")
    for target, part in snapshot.parts.items():
        disk = ET.SubElement(disks, "disk", name=target, snapshot=part.kind)
        if part.file is not None:
            disk.set("type", "file")
            ET.SubElement(disk, "driver", type="qcow2")
            ET.SubElement(disk, "source", file=part.file)
    root.append(parse(snapshot.xml, "the domain"))
    return indented(root)


def memory_as_json(memory: Part | None) -> str | None:
    return json.dumps([memory.kind, memory.file]) if memory is not None else None


def memory_of_json(text: str | None) -> Part | None:
    return Part(*json.loads(text)) if text is not None else None


def parts_as_json(parts: dict[str, Part]) -> str:
    return json.dumps({target: [part.kind, part.file] for target, part in parts.items()})


def parts_of_json(text: str) -> dict[str, Part]:
    return {target: Part(*values) for target, values in json.loads(text).items()}
