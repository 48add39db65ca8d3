"""The document of a machine as it is now."""

from pathlib import Path
from xml.etree import ElementTree as ET

from innkeeper.config import DiskConfig, LinkState, NetworkConfig
from innkeeper.config.disk import DiskBus, DiskDevice, DiskFormat
from innkeeper.machine.present import Present, PresentCard, PresentDisk
from innkeeper.manager import read_xml
from innkeeper.manager.domain_xml import unknown_parts
from innkeeper.manager.live_document import as_now

XML = """<domain type='qemu'><name>web</name><uuid>00000000-0000-0000-0000-000000000001</uuid>
<memory unit='MiB'>64</memory><devices><hub note='kept'/>
<disk type='file' device='disk'><source file='/a.img'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='cdrom'><source file='/a.iso'/><target dev='hdc' bus='ide'/></disk>
<interface type='bridge'><mac address='52:54:00:00:00:0A'/><source bridge='br0'/></interface>
<interface type='user'><mac address='52:54:00:00:00:0b'/><address type='pci' bus='0x01' slot='0x00'/></interface>
</devices></domain>"""
CARD = "<interface type='network'><source network='default'/><mac address='52:54:00:00:00:0c'/><alias name='ua-1'/></interface>"
DISK = (
    "<disk type='file' device='disk'><source file='/b.img'/><target dev='vdb' bus='virtio'/><serial>7</serial></disk>"
)
VDA = PresentDisk(DiskConfig(path=Path("/a.img"), target="vda"), "raw", 2, None)
CDROM = DiskConfig(path=Path("/a.iso"), target="hdc", device=DiskDevice.CDROM, bus=DiskBus.IDE)
HDC = PresentDisk(CDROM, "raw", None, None)
A, B = (
    PresentCard(NetworkConfig(mac=f"52:54:00:00:00:0{letter}"), slot, None) for letter, slot in (("a", 3), ("b", 4))
)


def address_of(xml: str, path: str) -> str | None:
    found = ET.fromstring(xml).find(f"devices/{path}/address")
    return None if found is None else found.get("slot")


def test_a_machine_that_has_not_changed_has_its_addresses_too() -> None:
    xml = as_now(XML, Present((VDA, HDC), (A, B)))
    assert [disk.slot for disk in read_xml(xml).machine.disks] == [2, None]
    assert [card.slot for card in read_xml(xml).machine.networks] == [3, 4]
    assert address_of(xml, "interface[2]") == "0x04"
    assert 'note="kept"' in xml
    assert unknown_parts(xml) == ["devices/hub"]
    assert as_now(xml, Present((VDA, HDC), (A, B))) == xml


def test_what_came_is_there_as_it_was_called_and_what_went_is_not() -> None:
    new = PresentDisk(DiskConfig(path=Path("/over"), target="vdb", format=DiskFormat.QCOW2), "qcow2", 7, DISK)
    bare = PresentDisk(DiskConfig(path=Path("/c.img"), target="vdc"), "raw", 8, None)
    card = PresentCard(NetworkConfig(mac="52:54:00:00:00:0c", link=LinkState.DOWN), 4, CARD)
    empty = PresentDisk(
        DiskConfig(path=None, target="hdc", device=DiskDevice.CDROM, bus=DiskBus.IDE), "raw", None, None
    )
    xml = as_now(XML, Present((VDA, empty, new, bare), (A, card)))
    machine = read_xml(xml).machine
    assert [(disk.target, str(disk.path), disk.slot, disk.serial) for disk in machine.disks] == [
        ("vda", "/a.img", 2, ""),
        ("hdc", "None", None, ""),
        ("vdb", "/over", 7, "7"),
        ("vdc", "/c.img", 8, ""),
    ]
    assert machine.disks[2].format is DiskFormat.QCOW2
    assert [(each.mac, each.name, each.slot, each.link) for each in machine.networks] == [
        ("52:54:00:00:00:0A", "br0", 3, "up"),
        ("52:54:00:00:00:0c", "default", 4, "down"),
    ]
    assert 'alias name="ua-1"' in xml


def test_a_disk_whose_document_has_no_name_gets_the_one_that_it_has() -> None:
    nameless = "<disk type='file'><source file='/b.img'/></disk>"
    new = PresentDisk(DiskConfig(path=Path("/b.img"), target="vdb"), "raw", 5, nameless)
    [_, disk] = read_xml(as_now(XML, Present((VDA, new), ()))).machine.disks
    assert (disk.target, disk.slot) == ("vdb", 5)
