"""libvirt's storage volume XML ⇄ what a volume shall be, or is.

Spec: libvirt's "Storage pool and volume XML format". Left out: encryption, which is an error, and volumes that are no files.
"""

import os
from pathlib import Path
from xml.etree import ElementTree as ET

from innkeeper.errors import ConfigError
from innkeeper.manager.elements import Element, attribute, memory_bytes, parse, text_of, whole
from innkeeper.manager.storage.describe import indented
from innkeeper.manager.storage.folder import BLOCK, VolumeInfo
from innkeeper.manager.storage.pool import check_volume_name
from innkeeper.manager.storage.pool_xml import read_mode
from innkeeper.manager.storage.sizes import LARGEST
from innkeeper.records import dataclass
from innkeeper.storage import ImageOptions

FORMATS = {"raw": "raw", "iso": "raw", "qcow2": "qcow2"}
DEFAULT_OPTIONS = ImageOptions()
COMPATS = ("0.10", "1.1")
UNDERSTOOD = frozenset(
    [
        "name",
        "key",
        "source",
        "capacity",
        "allocation",
        "physical",
        "target",
        "target/path",
        "target/format",
        "target/permissions",
        "target/permissions/mode",
        "target/permissions/owner",
        "target/permissions/group",
        "target/timestamps",
        "target/timestamps/atime",
        "target/timestamps/mtime",
        "target/timestamps/ctime",
        "target/timestamps/btime",
        "target/compat",
        "target/clusterSize",
        "target/features",
        "target/features/lazy_refcounts",
        "target/features/extended_l2",
        "backingStore",
        "backingStore/path",
        "backingStore/format",
        "backingStore/permissions",
        "backingStore/permissions/mode",
        "backingStore/permissions/owner",
        "backingStore/permissions/group",
        "backingStore/timestamps",
        "backingStore/timestamps/atime",
        "backingStore/timestamps/mtime",
        "backingStore/timestamps/ctime",
        "backingStore/timestamps/btime",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVolume:
    """What is to be made. Sizes are bytes; no allocation is all of it for raw, and what is needed for qcow2."""

    name: str
    capacity: int | None
    allocation: int | None = None
    format: str = "raw"
    mode: int = 0o600
    options: ImageOptions = DEFAULT_OPTIONS

    def __post_init__(self) -> None:
        check_volume_name(self.name)
        if self.format not in FORMATS.values():
            raise ConfigError(f"volume {self.name} has format {self.format!r}; formats are raw and qcow2")
        if self.capacity is None and self.options.backing_file is None:
            raise ConfigError(f"the capacity of volume {self.name} is not given; say how large it is, as in 10G")
        if self.format == "raw" and self.options.backing_file is not None:
            raise ConfigError(f"volume {self.name} is raw, which cannot have a backing volume; make it qcow2")
        if self.format == "raw" and self.options.preallocation == "metadata":
            raise ConfigError(f"volume {self.name} is raw, which has no metadata to preallocate; leave that out")
        for what, size in (("capacity", self.capacity), ("allocation", self.allocation)):
            if size is not None and not 0 <= size <= LARGEST:
                raise ConfigError(f"the {what} of volume {self.name} is {size}; it must be from 0 to {LARGEST}")

    @property
    def size(self) -> int | None:
        """In whole sectors."""
        return None if self.capacity is None else -(-self.capacity // BLOCK) * BLOCK


def read_volume(text: str, *, prealloc_metadata: bool = False) -> NewVolume:
    """Raises `ConfigError` for a document that is none, or that asks for what cannot be."""
    root = parse(text, "the volume")
    if root.tag != "volume":
        raise ConfigError(f"the document is a <{root.tag}>; a volume is a <volume>")
    name = text_of(root, "name")
    if name is None:
        raise ConfigError("the volume has no <name>; give it one")
    if root.get("type", "file") != "file" or root.find("target/encryption") is not None:
        what = "encrypted" if root.find("target/encryption") is not None else f"of type {root.get('type')!r}"
        raise ConfigError(f"volume {name} is {what}; volumes here are plain files")
    check_owner(root, name)
    mode = read_mode(root, f"volume {name}")
    capacity, allocation = size_of(root, "capacity"), size_of(root, "allocation")
    kind = attribute(root, "target/format", "type") or "raw"
    full = kind == "qcow2" and allocation is not None and capacity is not None and allocation >= capacity > 0
    preallocation = "metadata" if prealloc_metadata else "falloc" if full else "off"
    return NewVolume(
        name=name,
        capacity=capacity,
        allocation=allocation,
        format=FORMATS.get(kind, kind),
        mode=0o600 if mode is None else mode,
        options=read_options(root, name, preallocation),
    )


def size_of(root: Element, tag: str) -> int | None:
    """`<capacity unit="GiB">10</capacity>`; without a unit it is bytes."""
    part = root.find(tag)
    if part is None or not (part.text or "").strip():
        return None
    if part.get("unit") in (None, "B"):
        return whole((part.text or "").strip(), f"<{tag}>")
    return memory_bytes(part)


def check_owner(root: Element, name: str) -> None:
    """Files are made for whoever makes them. Raises `ConfigError` for another owner."""
    for tag, mine in (("owner", os.geteuid()), ("group", os.getegid())):
        text = text_of(root, f"target/permissions/{tag}")
        if text is not None and whole(text, f"the {tag} of volume {name}") not in (mine, -1):
            raise ConfigError(
                f"the {tag} of volume {name} is {text}; volumes belong to their maker, here {mine}: leave it out"
            )


def read_options(root: Element, name: str, preallocation: str) -> ImageOptions:
    compat = text_of(root, "target/compat") or "1.1"
    if compat not in COMPATS:
        raise ConfigError(f"<compat> of volume {name} is {compat!r}; it must be {' or '.join(COMPATS)}")
    cluster = size_of(root, "target/clusterSize")
    backing = text_of(root, "backingStore/path")
    kind = attribute(root, "backingStore/format", "type")
    if backing is not None and not Path(backing).is_absolute():
        raise ConfigError(f"the backing volume of {name} is {backing!r}; give its whole path, from / on")
    if backing is not None and kind is None:
        raise ConfigError(
            f"the format of {backing} below {name} is not given; say raw or qcow2: guessing it would let a guest choose"
        )
    if kind is not None and kind not in FORMATS:
        raise ConfigError(f"the backing volume of {name} has format {kind!r}; formats are raw and qcow2")
    return ImageOptions(
        preallocation=preallocation,
        compat=compat,
        cluster_size=cluster if cluster is not None else DEFAULT_OPTIONS.cluster_size,
        lazy_refcounts=root.find("target/features/lazy_refcounts") is not None,
        extended_l2=root.find("target/features/extended_l2") is not None,
        backing_file=backing,
        backing_fmt=FORMATS[kind or "raw"] if backing is not None else None,
    )


def write_volume(info: VolumeInfo, layout: dict[str, str]) -> str:
    """What a volume is. `layout` is of qcow2: compat, cluster_size, and features that are "yes"."""
    root = ET.Element("volume", type=info["type"])
    ET.SubElement(root, "name").text = info["name"]
    ET.SubElement(root, "key").text = info["key"]
    for tag, size in (
        ("capacity", info["capacity"]),
        ("allocation", info["allocation"]),
        ("physical", info["physical"]),
    ):
        ET.SubElement(root, tag, unit="bytes").text = str(size)
    target = ET.SubElement(root, "target")
    ET.SubElement(target, "path").text = info["path"]
    ET.SubElement(target, "format", type=info["format"])
    add_status(target, Path(info["path"]))
    if "compat" in layout:
        ET.SubElement(target, "compat").text = layout["compat"]
        ET.SubElement(target, "clusterSize", unit="B").text = layout["cluster_size"]
    features = [name for name in ("lazy_refcounts", "extended_l2") if layout.get(name) == "yes"]
    if features:
        part = ET.SubElement(target, "features")
        for name in features:
            ET.SubElement(part, name)
    if info["backing"] is not None:
        store = ET.SubElement(root, "backingStore")
        ET.SubElement(store, "path").text = info["backing"]["path"]
        ET.SubElement(store, "format", type=info["backing"]["format"] or "raw")
    return indented(root)


def add_status(target: Element, path: Path) -> None:
    status = path.stat()
    permissions = ET.SubElement(target, "permissions")
    for tag, value in (("mode", f"{status.st_mode & 0o7777:04o}"), ("owner", status.st_uid), ("group", status.st_gid)):
        ET.SubElement(permissions, tag).text = str(value)
    times = ET.SubElement(target, "timestamps")
    stamps = (("atime", status.st_atime_ns), ("mtime", status.st_mtime_ns), ("ctime", status.st_ctime_ns))
    for tag, nanoseconds in stamps:
        ET.SubElement(times, tag).text = f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"
