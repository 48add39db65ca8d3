"""Changes of a definition: what is asked for changes, and nothing else."""

import re
from xml.etree import ElementTree as ET

import pytest

from innkeeper.config import BalloonConfig
from innkeeper.errors import ConfigError
from innkeeper.manager import changes, read_xml
from innkeeper.manager.hardware import scope

XML = """<domain type='qemu'><name>web</name><uuid>00000000-0000-0000-0000-000000000001</uuid>
<memory unit='MiB'>64</memory><vcpu>2</vcpu><devices><hub note='kept'/>
<disk type='file' device='disk'><source file='/a.img'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='cdrom'><source file='/a.iso'/><target dev='hdc' bus='ide'/></disk>
<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/></interface>
</devices></domain>"""
CARD = "<interface type='user'><mac address='52:54:00:00:00:02'/></interface>"
DISK = "<disk type='file' device='disk'><source file='/b.img'/><target dev='vdb' bus='virtio'/></disk>"


def test_a_device_is_added_behind_those_of_its_kind_and_removed_again() -> None:
    added = changes.add_device(changes.add_device(XML, ET.fromstring(CARD)), ET.fromstring(DISK))

    machine = read_xml(added).machine
    assert [network.mac for network in machine.networks] == ["52:54:00:00:00:01", "52:54:00:00:00:02"]
    assert [disk.target for disk in machine.disks] == ["vda", "hdc", "vdb"]
    assert re.search(r'<hub note="kept"', added)
    back = changes.remove_device(changes.remove_device(added, ET.fromstring(CARD)), ET.fromstring(DISK))
    assert read_xml(back) == read_xml(XML)


@pytest.mark.parametrize("device", [CARD.replace(":02", ":01"), DISK.replace("vdb", "vda")])
def test_a_name_that_is_taken_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match="the machine has"):
        changes.add_device(XML, ET.fromstring(device))


@pytest.mark.parametrize("device", [CARD, DISK, "<interface type='user'/>", "<disk/>"])
def test_what_is_not_there_cannot_be_removed(device: str) -> None:
    with pytest.raises(ConfigError, match="the machine has no"):
        changes.remove_device(XML, ET.fromstring(device))


@pytest.mark.parametrize("text", ["<hostdev/>", "<disk", "<!DOCTYPE x><disk/>"])
def test_other_documents_are_no_devices(text: str) -> None:
    with pytest.raises(ConfigError):
        changes.device_of(text)


def test_discs_change_as_they_are_asked_to() -> None:
    with pytest.raises(ConfigError, match="eject that first"):
        changes.change_media(XML, "hdc", "/b.iso", "insert")
    empty = changes.change_media(XML, "hdc", None, "eject")
    assert read_xml(empty).machine.disks[1].path is None
    with pytest.raises(ConfigError, match="no disc in it"):
        changes.change_media(empty, "hdc", None, "eject")
    assert str(read_xml(changes.change_media(empty, "hdc", "/b.iso", "insert")).machine.disks[1].path) == "/b.iso"
    assert str(read_xml(changes.change_media(XML, "/a.iso", "/b.iso", "update")).machine.disks[1].path) == "/b.iso"
    with pytest.raises(ConfigError, match="no CD-ROM drive"):
        changes.change_media(XML, "vda", None, "eject")


def test_a_link_goes_down_and_up() -> None:
    down = changes.set_link(XML, "52:54:00:00:00:01", up=False)
    assert read_xml(down).machine.networks[0].link == "down"
    assert read_xml(changes.set_link(down, "52:54:00:00:00:01", up=True)).machine.networks[0].link == "up"


def test_memory_is_left_to_the_guest_within_what_the_machine_has() -> None:
    less = changes.set_memory(XML, 32 << 10)
    assert read_xml(less).machine.balloon == BalloonConfig(memory_mib=32)
    with pytest.raises(ConfigError, match="between 1 and the machine's 65536"):
        changes.set_memory(XML, 65 << 10)
    more = changes.set_maximum_memory(less, 128 << 10)
    assert (read_xml(more).machine.memory_mib, read_xml(more).machine.balloon) == (128, BalloonConfig(memory_mib=32))
    small = read_xml(changes.set_maximum_memory(less, 16 << 10)).machine
    assert (small.memory_mib, small.balloon) == (16, BalloonConfig())


def test_vcpus_stay_within_their_maximum() -> None:
    with pytest.raises(ConfigError, match="at most 2"):
        changes.set_vcpus(XML, 3, maximum=False)
    more = changes.set_vcpus(XML, 8, maximum=True)
    assert (read_xml(more).machine.vcpus, read_xml(more).machine.max_vcpus) == (2, 8)
    assert read_xml(changes.set_vcpus(more, 6, maximum=False)).machine.vcpus == 6
    assert read_xml(changes.set_vcpus(more, 1, maximum=True)).machine.vcpus == 1


@pytest.mark.parametrize(
    ("flags", "running", "stopped"),
    [
        ([], (True, False), (False, True)),
        (["current"], (True, False), (False, True)),
        (["config"], (False, True), (False, True)),
        (["persistent"], (True, True), (False, True)),
        (["live"], (True, False), None),
        (["live", "config"], (True, True), None),
        (["current", "config"], None, None),
        (["sideways"], None, None),
    ],
)
def test_flags_say_what_a_change_is_for(
    flags: list[str], running: tuple[bool, bool] | None, stopped: tuple[bool, bool] | None
) -> None:
    for active, wanted in ((True, running), (False, stopped)):
        if wanted is None:
            with pytest.raises(Exception, match=r"live|current|flags"):
                scope("web", flags, active=active)
        else:
            assert scope("web", flags, active=active) == wanted
