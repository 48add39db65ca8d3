"""The document of what runs: as its devices are now."""

from types import SimpleNamespace
from typing import Any

import pytest

from innkeeper.errors import ConfigError
from innkeeper.manager import live_document, read_xml
from innkeeper.manager.live_document import LiveDocument

MAC = "52:54:00:00:00:0{}"
DISKS = "".join(f"<disk><source file='/d{number}'/></disk>" for number in (0, 1, 2))
CARDS = "".join(f"<interface type='user'><mac address='{MAC.format(number)}'/></interface>" for number in (1, 2))
XML = f"<domain type='bt'><name>a</name><uuid>{'0' * 31}1</uuid><memory unit='MiB'>16</memory><devices>{DISKS}{CARDS}</devices></domain>"


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """The devices that the machine has."""
    monkeypatch.setattr(live_document, "disk_now", lambda disk: disk)
    return {
        "disks": [{"target": f"vd{'abc'[number]}", "source": f"/d{number}", "format": "raw"} for number in (0, 1, 2)],
        "cards": [SimpleNamespace(mac=MAC.format(number)) for number in (1, 2)],
    }


def document(there: dict[str, list[Any]], xml: str = XML) -> LiveDocument:
    live = SimpleNamespace(disks=lambda: there["disks"], cards=lambda: there["cards"])
    return LiveDocument(xml, SimpleNamespace(live=live))  # type: ignore[arg-type]


def test_what_has_not_changed_is_as_it_was_started(there: dict[str, list[Any]]) -> None:
    machine = read_xml(document(there).now()).machine
    assert [(disk.target, str(disk.path)) for disk in machine.disks] == [("vda", "/d0"), ("vdb", "/d1"), ("vdc", "/d2")]
    assert [card.mac for card in machine.networks] == [MAC.format(1), MAC.format(2)]


def test_devices_that_the_guest_has_let_go_of_are_gone_and_the_others_keep_their_names(
    there: dict[str, list[Any]],
) -> None:
    live = document(there)
    del there["disks"][0], there["cards"][1]
    once = live.now()
    live.revise(once)
    for xml in (once, live.now()):
        machine = read_xml(xml).machine
        assert [(disk.target, str(disk.path)) for disk in machine.disks] == [("vdb", "/d1"), ("vdc", "/d2")]
        assert [card.mac for card in machine.networks] == [MAC.format(1)]


def test_a_disk_is_where_it_has_moved_to(there: dict[str, list[Any]]) -> None:
    there["disks"][1] |= {"source": "/overlay", "format": "qcow2"}
    there["disks"][2] |= {"source": ""}
    drive = "<disk device='cdrom'><source file='/d2'/><target dev='vdc' bus='ide'/></disk>"
    machine = read_xml(document(there, XML.replace("<disk><source file='/d2'/></disk>", drive)).now()).machine
    found = [(str(disk.path), disk.format) for disk in machine.disks]
    assert found == [("/d0", None), ("/overlay", "qcow2"), ("None", None)]


def test_what_describes_no_machine_is_refused(there: dict[str, list[Any]]) -> None:
    live = document(there)
    before = live.now()
    with pytest.raises(ConfigError):
        live.revise("<network/>")
    assert live.now() == before
