"""The document of a machine that runs, which its process keeps: what it was started with, as its devices are now.

Spec: libvirt's "Domain XML format". Of what changes while it runs there are the files in its drives, devices that came and went, and
whatever else its manager says; how much memory and how many vCPUs it has, its figures say.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from innkeeper.config.network import NetworkKind
from innkeeper.config.targets import targets
from innkeeper.machine.live import disk_now
from innkeeper.machine.machine import Machine
from innkeeper.manager.changes import address_of, devices_of, name_disk
from innkeeper.manager.device_xml import read_disk, read_interface
from innkeeper.manager.domain_xml import OSINFO, read_xml
from innkeeper.manager.elements import Element, attribute, parse
from innkeeper.manager.normal import TEXT_OF_METADATA
from innkeeper.manager.snapshots.drives import drive_of, put


class LiveDocument:
    """From any thread."""

    def __init__(self, xml: str, machine: Machine) -> None:
        self._xml, self._machine = xml, machine

    def now(self) -> str:
        """Raises `HostError` if the machine does not run."""
        ET.register_namespace(TEXT_OF_METADATA, OSINFO)
        root = parse(self._xml, "the domain")
        devices = devices_of(root)
        self._look_at_disks(devices)
        there = [card.mac.lower() for card in self._machine.live.cards()]
        for part in devices.findall("interface"):
            if read_interface(part).kind is not NetworkKind.NONE and address_of(part) not in ("", *there):
                devices.remove(part)  # the guest has let go of it
        return ET.tostring(root, encoding="unicode") + "\n"

    def revise(self, xml: str) -> None:
        """Its manager has changed the machine. Raises `ConfigError` if this describes none."""
        read_xml(xml)
        self._xml = xml

    def _look_at_disks(self, devices: Element) -> None:
        there = {disk["target"]: disk for disk in map(disk_now, self._machine.live.disks())}
        parts = devices.findall("disk")
        for part, target in zip(parts, targets([read_disk(each) for each in parts]), strict=True):
            now, before = there.get(target), drive_of(part).path
            if now is None:
                devices.remove(part)
                continue
            if attribute(part, "target", "dev") is None:
                name_disk(part, target)
            if now["source"] != str(before or ""):
                put(part, Path(now["source"]) if now["source"] else None, now["format"])
