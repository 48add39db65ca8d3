"""Changes of a stored definition: devices added and removed, discs, links, memory, vCPUs. What else the document says stays.

Spec: libvirt's "Domain XML format". Each takes the document and returns the changed one; raises `ConfigError` for what cannot be.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

from innkeeper.config import DiskDevice
from innkeeper.config.targets import targets
from innkeeper.errors import ConfigError
from innkeeper.manager.device_xml import read_disk, read_interface
from innkeeper.manager.domain_xml import read_xml
from innkeeper.manager.elements import Element, attribute, child, memory_bytes, parse
from innkeeper.manager.normal import normalised

DEVICES = ("interface", "disk")
KIB = 1024


def revise(xml: str, change: Callable[[Element], None]) -> str:
    root = parse(xml, "the domain")
    change(root)
    return normalised(ET.tostring(root, encoding="unicode"))


def device_of(text: str) -> Element:
    """An `<interface>` or a `<disk>`."""
    device = parse(text, "the device")
    if device.tag not in DEVICES:
        raise ConfigError(f"the device is a <{device.tag}>; {' and '.join(DEVICES)} can be attached and detached")
    return device


def add_device(xml: str, device: Element) -> str:
    """Behind the others of its kind."""

    def change(root: Element) -> None:
        check_new(root, device)
        put_device(child(root, "devices"), device)

    return revise(xml, change)


def put_device(devices: Element, device: Element) -> None:
    """Behind the others of its kind."""
    last = max((at for at, each in enumerate(devices) if each.tag == device.tag), default=len(devices) - 1)
    devices.insert(last + 1, device)


def check_new(root: Element, device: Element) -> None:
    """Raises `ConfigError` if a device of the same name is there."""
    if device.tag == "interface":
        read_interface(device)
        mac = (attribute(device, "mac", "address") or "").lower()
        if mac and mac in (address_of(each) for each in root.findall("devices/interface")):
            raise ConfigError(f"the machine has an interface with the address {mac}; give another")
        return
    read_disk(device)
    target = attribute(device, "target", "dev")
    if target in disk_names(root):
        raise ConfigError(f"the machine has a disk {target}; give another target")


def remove_device(xml: str, device: Element) -> str:
    """The one that a description means: an interface by its address, a disk by its target."""

    def change(root: Element) -> None:
        if device.tag == "interface":
            found = find_interface(root, attribute(device, "mac", "address") or "")
        else:
            found = find_disk(root, attribute(device, "target", "dev") or "")
        child(root, "devices").remove(found)

    return revise(xml, change)


def change_media(xml: str, target: str, source: str | None, how: str) -> str:
    """`how` is eject, insert or update."""

    def change(root: Element) -> None:
        disk = find_disk(root, target)
        if read_disk(disk).device is not DiskDevice.CDROM:
            raise ConfigError(f"disk {target} is no CD-ROM drive, so there is nothing to change in it")
        there = disk.find("source")
        if how == "insert" and there is not None:
            raise ConfigError(f"drive {target} has a disc in it; eject that first, or update it")
        if how == "eject" and there is None:
            raise ConfigError(f"drive {target} has no disc in it")
        if there is not None:
            disk.remove(there)
        if source is not None:
            block = Path(source).is_block_device()
            disk.set("type", "block" if block else "file")
            place = next((at for at, each in enumerate(disk) if each.tag == "target"), len(disk))
            disk.insert(place, ET.Element("source", {"dev" if block else "file": source}))

    return revise(xml, change)


def set_link(xml: str, name: str, *, up: bool) -> str:
    def change(root: Element) -> None:
        interface = find_interface(root, name)
        child(interface, "link").set("state", "up" if up else "down")

    return revise(xml, change)


def set_memory(xml: str, kib: int) -> str:
    """What the guest is left with from the start."""

    def change(root: Element) -> None:
        maximum = maximum_kib(root)
        if not 0 < kib <= maximum:
            raise ConfigError(f"memory is {kib} KiB; it must be between 1 and the machine's {maximum}")
        put_kib(root, "currentMemory", kib)

    return revise(xml, change)


def set_maximum_memory(xml: str, kib: int) -> str:
    def change(root: Element) -> None:
        current = root.find("currentMemory")
        follows = current is not None and memory_bytes(current) // KIB in (maximum_kib(root), 0)
        put_kib(root, "memory", kib)
        if follows or (current is not None and memory_bytes(current) // KIB > kib):
            put_kib(root, "currentMemory", kib)

    return revise(xml, change)


def set_vcpus(xml: str, count: int, *, maximum: bool) -> str:
    """How many the machine has when it starts, or with `maximum` how many that may be at most."""

    def change(root: Element) -> None:
        vcpu = root.find("vcpu")
        if vcpu is None:
            vcpu = ET.SubElement(root, "vcpu")
            vcpu.text = "1"
        limit = int(vcpu.text or "1")
        if maximum:
            current = int(vcpu.get("current", limit))
            vcpu.text = str(count)
            if current >= count:
                vcpu.attrib.pop("current", None)
            elif "current" in vcpu.attrib or current < count:
                vcpu.set("current", str(current))
        elif not 0 < count <= limit:
            raise ConfigError(f"{count} vCPUs are asked for; the machine has at most {limit}: --maximum raises that")
        elif count == limit:
            vcpu.attrib.pop("current", None)
        else:
            vcpu.set("current", str(count))

    return revise(xml, change)


def as_running(xml: str, count: int, maximum: int, kib: int) -> str:
    """The same machine with so many vCPUs now, and so much memory left to its guest."""

    def change(root: Element) -> None:
        if root.find("currentMemory") is not None or kib != maximum_kib(root):
            put_kib(root, "currentMemory", kib)
        vcpu = child(root, "vcpu")
        vcpu.text = str(maximum)
        vcpu.attrib.pop("current", None)
        if count != maximum:
            vcpu.set("current", str(count))

    return revise(xml, change)


# ---- parts of the document -------------------------------------------------------------------------


def disk_names(root: Element) -> list[str]:
    return targets([read_disk(disk) for disk in root.findall("devices/disk")])


def find_disk(root: Element, name: str) -> Element:
    """By its target, or the file in it."""
    disks = root.findall("devices/disk")
    names = disk_names(root)
    for disk, target in zip(disks, names, strict=True):
        if name and name in (target, attribute(disk, "source", "file"), attribute(disk, "source", "dev")):
            return disk
    raise ConfigError(f"the machine has no disk {name}; it has {', '.join(names) or 'none at all'}")


def name_disk(disk: Element, target: str) -> None:
    """One that does not say what it is called."""
    child(disk, "target").set("dev", target)


def find_interface(root: Element, name: str) -> Element:
    """By its address, or its interface on the host."""
    interfaces = root.findall("devices/interface")
    for interface in interfaces:
        if name and (name.lower() == address_of(interface) or name == attribute(interface, "target", "dev")):
            return interface
    known = ", ".join(address_of(each) for each in interfaces) or "none at all"
    raise ConfigError(f"the machine has no interface {name}; it has {known}")


def address_of(interface: Element) -> str:
    return (attribute(interface, "mac", "address") or "").lower()


def maximum_kib(root: Element) -> int:
    return read_xml(ET.tostring(root, encoding="unicode")).machine.memory_mib * KIB


def put_kib(root: Element, tag: str, kib: int) -> None:
    part = root.find(tag)
    if part is None:
        part = ET.Element(tag)
        after = next((at for at, each in enumerate(root) if each.tag == "memory"), len(root) - 1)
        root.insert(after + 1, part)
    part.set("unit", "KiB")
    part.text = str(kib)
