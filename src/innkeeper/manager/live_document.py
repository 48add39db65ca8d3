"""The document of a machine that runs: what it was started with, as its devices are now.

Spec: libvirt's "Domain XML format". Of what changes while it runs there are devices that came and went, the files in its drives, and links; how
much memory and how many vCPUs it has, its figures say.
"""

from xml.etree import ElementTree as ET

from innkeeper.machine.present import Present, PresentCard, PresentDisk
from innkeeper.manager.changes import address_of, disk_names, name_disk, put_device
from innkeeper.manager.device_xml import put_slot, read_disk, read_interface, write_disk, write_interface
from innkeeper.manager.domain_xml import OSINFO
from innkeeper.manager.elements import Element, attribute, child, parse
from innkeeper.manager.normal import TEXT_OF_METADATA
from innkeeper.manager.snapshots.drives import put


def as_now(xml: str, now: Present) -> str:
    ET.register_namespace(TEXT_OF_METADATA, OSINFO)
    root = parse(xml, "the domain")
    devices = child(root, "devices")
    disks = {disk.config.target: disk for disk in now.disks}
    for part, target in zip(root.findall("devices/disk"), disk_names(root), strict=True):
        disk = disks.pop(target, None)
        if disk is None:
            devices.remove(part)
        else:
            revise_disk(part, disk)
    cards = {card.config.mac or "": card for card in now.cards}
    for part in root.findall("devices/interface"):
        card = cards.pop(address_of(part), None)
        if card is None:
            devices.remove(part)
        else:
            revise_card(part, card)
    for part in (*map(new_disk, disks.values()), *map(new_card, cards.values())):
        put_device(devices, part)
    return ET.tostring(root, encoding="unicode") + "\n"


def new_disk(disk: PresentDisk) -> Element:
    if disk.document is None:
        return with_slot(write_disk(disk.config, disk.config.target), disk.slot)
    part = parse(disk.document, "the device")
    revise_disk(part, disk)
    return part


def new_card(card: PresentCard) -> Element:
    if card.document is None:
        return with_slot(write_interface(card.config), card.slot)
    part = parse(card.document, "the device")
    revise_card(part, card)
    return part


def revise_disk(part: Element, disk: PresentDisk) -> None:
    """Its name, and what is in it."""
    if attribute(part, "target", "dev") is None:
        name_disk(part, disk.config.target)
    if read_disk(part).path != disk.config.path:
        put(part, disk.config.path, disk.format)
    with_slot(part, disk.slot)


def revise_card(part: Element, card: PresentCard) -> None:
    """Its address, and whether its cable is plugged in."""
    if card.config.mac is not None and address_of(part) != card.config.mac:
        child(part, "mac").set("address", card.config.mac)
    if read_interface(part).link is not card.config.link:
        child(part, "link").set("state", card.config.link)
    with_slot(part, card.slot)


def with_slot(part: Element, slot: int | None) -> Element:
    """Where it is, if it is in a slot by itself."""
    if slot is not None:
        put_slot(part, slot)
    return part
