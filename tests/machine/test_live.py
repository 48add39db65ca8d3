"""Changes of a running machine whose guest does nothing at all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.config import ConsoleConfig, DiskConfig, MachineConfig, NetworkConfig
from innkeeper.config.console import ConsoleKind
from innkeeper.config.disk import DiskBus, DiskDevice
from innkeeper.config.network import CardModel
from innkeeper.config.plain import from_plain, to_plain
from innkeeper.errors import ConfigError, HostError
from innkeeper.machine import Machine
from innkeeper.machine.control import BadRequest
from innkeeper.machine.live import Live
from innkeeper.testing.guests import SPIN, flat_guest
from tests.engines import fastest_software


def image(path: Path) -> Path:
    path.write_bytes(b"x" * 8192)
    return path


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(flat_guest(SPIN))
    config = MachineConfig(
        kernel=kernel,
        memory_mib=16,
        engine=fastest_software(),
        console=ConsoleConfig(kind=ConsoleKind.NONE),
        disks=(
            DiskConfig(path=image(tmp_path / "a.img"), target="vdc"),
            DiskConfig(path=None, device=DiskDevice.CDROM, bus=DiskBus.IDE),
            DiskConfig(path=image(tmp_path / "b.img")),
        ),
        networks=(NetworkConfig(mac="52:54:00:00:00:01"),),
    )
    with Machine(config) as machine:
        machine.start()
        yield machine.live


def test_what_is_there_is_listed_by_the_names_it_has(live: Live, tmp_path: Path) -> None:
    live.attach_disk(DiskConfig(path=image(tmp_path / "c.img")))
    live.attach_card(NetworkConfig(mac="52:54:00:00:00:0A", model=CardModel.E1000))

    found = live.describe()
    assert [disk["target"] for disk in found["disks"]] == ["vdc", "hda", "vda", "vdb"]
    assert [disk["slot"] for disk in found["disks"]] == [2, None, 3, 5]  # the first card is in slot 4
    assert [(card["mac"], card["model"]) for card in found["cards"]] == [
        ("52:54:00:00:00:01", "virtio"),
        ("52:54:00:00:00:0a", "e1000"),
    ]


def test_a_guest_that_does_not_answer_keeps_its_devices_until_the_reset(live: Live, tmp_path: Path) -> None:
    assert not live.detach_disk("vda", patience_s=0.01)
    assert not live.detach_card("52:54:00:00:00:01", patience_s=0.01)
    assert len(live.disks()) == 3
    with pytest.raises(HostError):
        live.attach_disk(DiskConfig(path=tmp_path / "a.img"))  # whose lock it holds all the while


def test_mistakes_are_named(live: Live, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no disk vdz; it has vdc, hda, vda"):
        live.detach_disk("vdz")
    with pytest.raises(ConfigError, match="has no network card 52:54:00:00:00:09; it has 52:54:00:00:00:01"):
        live.card("52:54:00:00:00:09")
    with pytest.raises(ConfigError, match="has a card with the address"):
        live.attach_card(NetworkConfig(mac="52:54:00:00:00:01"))
    with pytest.raises(ConfigError, match="has a disk vdc; vdb is free"):
        live.attach_disk(DiskConfig(path=image(tmp_path / "c.img"), target="vdc"))
    with pytest.raises(ConfigError, match="a disk on bus sata cannot be attached while"):
        live.attach_disk(DiskConfig(path=image(tmp_path / "d.img"), bus=DiskBus.SATA))
    with pytest.raises(HostError, match="bus ide, where nothing comes off"):
        live.detach_disk("hda")
    with pytest.raises(ConfigError, match="2 vCPUs are asked for; the machine was started with room for 1"):
        live.set_vcpus(2)
    with pytest.raises(HostError, match="no balloon"):
        live.set_memory(1024)
    with pytest.raises(HostError, match="only grows, and 512 bytes are less than its 8192"):
        live.resize_disk("vda", 512)
    with pytest.raises(HostError, match="has no disc in it"):
        live.change_media("hda", None, "eject")
    with pytest.raises(ConfigError, match="no CD-ROM drive"):
        live.change_media("vda", None, "eject")


def test_slots_run_out_with_a_sentence(live: Live) -> None:
    for _ in range(27):
        live.attach_card(NetworkConfig())
    with pytest.raises(HostError, match="all 30 slots of the machine are taken"):
        live.attach_card(NetworkConfig())
    assert len(live.cards()) == 28


def test_a_disk_grows_while_it_is_in_use(live: Live, tmp_path: Path) -> None:
    live.resize_disk("vda", 1 << 20)
    assert (tmp_path / "b.img").stat().st_size == 1 << 20
    assert [disk["size"] for disk in live.describe()["disks"]] == [8192, 0, 1 << 20]


def test_figures_have_all_that_there_is(live: Live) -> None:
    while (figures := live.figures(refresh=True))["vcpus"][0]["state"] != "running":
        pass  # its thread has yet to start
    assert figures["cpu_time_ns"] > 0
    assert [disk["target"] for disk in figures["disks"]] == ["vdc", "hda", "vda"]
    assert [card["mac"] for card in figures["cards"]] == ["52:54:00:00:00:01"]
    assert figures["memory"]["current_kib"] == figures["memory"]["maximum_kib"] == 16 << 10


@pytest.mark.parametrize(
    "asked",
    [
        {"do": "attach-card"},
        {"do": "attach-card", "card": {"kind": "wireless"}},
        {"do": "attach-card", "card": {"mac": 7}},
        {"do": "attach-disk", "disk": {"path": "/nowhere"}},
        {"do": "attach-disk", "disk": {"paths": []}},
        {"do": "detach-card", "card": None},
        {"do": "resize-disk", "disk": "vda", "size": "1"},
        {"do": "resize-disk", "disk": "vda", "size": True},
        {"do": "set-memory"},
        {"do": "set-vcpus"},
        {"do": "set-vcpus", "count": "2"},
        {"do": "set-vcpus", "count": True},
        {"do": "change-media", "disk": "hda", "source": 5, "how": "eject"},
    ],
)
def test_requests_that_are_none_are_refused(live: Live, asked: dict[str, object]) -> None:
    with pytest.raises((BadRequest, ConfigError, HostError)):
        live.commands()[str(asked["do"])](asked)
    assert len(live.describe()["disks"]) == 3


def test_a_machine_that_does_not_run_says_so(tmp_path: Path) -> None:
    machine = Machine(MachineConfig(kernel=tmp_path / "kernel"))
    with pytest.raises(HostError, match="does not run"):
        machine.live.describe()


def test_configurations_travel_as_plain_values() -> None:
    card = NetworkConfig.parse("user,model=e1000,portForward=8080:80,dns=192.0.2.1,mac=52:54:00:00:00:01")
    assert from_plain(NetworkConfig, to_plain(card)) == card
    disk = DiskConfig.parse("a.qcow2,format=qcow2,serial=7,readonly=yes,queues=2".replace("queues", "driver.queues"))
    assert from_plain(DiskConfig, to_plain(disk)) == disk
