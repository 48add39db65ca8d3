"""Machines saved whose devices came and went while they ran; the guest's part of hot plug is played here."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from innkeeper.config import DiskConfig, LinkState, MachineConfig, NetworkConfig
from innkeeper.config.disk import DiskBus, DiskDevice
from innkeeper.errors import ConfigError, HostError, ImageError
from innkeeper.machine import Machine, OutcomeKind
from innkeeper.machine.saving import Wish
from innkeeper.machine.state_file import SavedMachine, whole_file, write_end, write_start
from innkeeper.machine.virtio import VirtioDisk
from innkeeper.testing.guests import flat_guest
from tests.engines import fastest_software
from tests.machine.test_saving import COUNTING, LIMIT_S, check_letters, goes_on, running, start

OLD, NEW = "52:54:00:00:00:01", "52:54:00:00:00:02"
EJECT = 8


@pytest.fixture
def config(tmp_path: Path) -> MachineConfig:
    """A disk in slot 2, a card in slot 3, entropy in slot 4; and an empty drive."""
    kernel = tmp_path / "guest"
    kernel.write_bytes(flat_guest(COUNTING))
    for name in ("a", "b", "disc"):
        (tmp_path / name).write_bytes(bytes(1 << 16))
    return MachineConfig(
        kernel=kernel,
        memory_mib=4,
        engine=fastest_software(),
        timeout_s=LIMIT_S,
        disks=(
            DiskConfig(path=tmp_path / "a"),
            DiskConfig(path=None, device=DiskDevice.CDROM, bus=DiskBus.IDE, check=False),
        ),
        networks=(NetworkConfig(mac=OLD),),
        rng=True,
    )


def eject(machine: Machine, slot: int) -> None:
    """As the guest's method does it."""
    assert machine._assembly is not None
    machine._assembly.board.slots.registers.write(EJECT, 4, 1 << slot)


def asked(machine: Machine) -> list[int]:
    assert machine._assembly is not None
    return machine._assembly.board.slots.asked()


def targets(machine: Machine) -> list[str]:
    return [disk.target for disk in machine.live.disks()]


def changed(machine: Machine, folder: Path) -> None:
    """The card is out, another in its place, a disk is behind the entropy, and shall go."""
    live = machine.live
    assert not live.detach_card(OLD, patience_s=0.01)
    eject(machine, 3)
    live.attach_disk(DiskConfig(path=folder / "b", slot=5))
    live.attach_card(NetworkConfig(mac=NEW))
    live.set_link(NEW, up=False)
    machine.change_media(folder / "disc", check=False)
    assert not live.detach_disk("vdb", patience_s=0.01)


@pytest.mark.parametrize("suspended", [False, True])
def test_devices_that_came_are_where_they_were_and_others_are_gone(
    config: MachineConfig, tmp_path: Path, suspended: bool
) -> None:
    file = tmp_path / "saved"
    with running(config) as (machine, console):
        console.wait_for(b"CDE", timeout_s=LIMIT_S)
        if suspended:
            machine.suspend()
        changed(machine, tmp_path)
        now = machine.config_now
        machine.save(file)
        assert machine.wait(LIMIT_S).kind is OutcomeKind.SAVED
        said = console.text
    with SavedMachine(file) as saved:
        assert saved.head["slots"] == ["disk vda", f"card {NEW}", "fixed", "disk vdb"]
    assert [(disk.target, disk.path) for disk in now.disks] == [
        ("vda", tmp_path / "a"),
        ("hda", tmp_path / "disc"),
        ("vdb", tmp_path / "b"),
    ]
    assert [(card.mac, card.link) for card in now.networks] == [(NEW, LinkState.DOWN)]

    with running(now, file) as (machine, console):
        goes_on(console)
        check_letters(said + console.text)
        assert machine.config_now == now
        assert asked(machine) == [3]
        disk = machine.live.disk("vdb")
        assert isinstance(disk, VirtioDisk)
        eject(machine, 5)
        assert machine.live.there().backplane.wait_until_gone(disk, LIMIT_S)
        assert targets(machine) == ["vda", "hda"]
        assert machine.live.attach_disk(DiskConfig(path=tmp_path / "b")).target == "vdb"
        machine.save_as(Wish(file, ends=False))
        with SavedMachine(file) as saved:
            assert saved.head["slots"] == ["disk vda", f"card {NEW}", "fixed", "disk vdb"]


def test_what_was_asked_back_is_gone_with_the_next_reset(config: MachineConfig, tmp_path: Path) -> None:
    file = tmp_path / "saved"
    with running(config) as (machine, _):
        assert not machine.live.detach_card(OLD, patience_s=0.01)
        machine.save(file)
    with running(config, file) as (machine, console):
        [card] = machine.live.cards()
        machine.reset()
        assert machine.live.there().backplane.wait_until_gone(card, LIMIT_S)
        goes_on(console)
        assert machine.config_now.networks == ()


def test_other_devices_are_refused_by_their_names(config: MachineConfig, tmp_path: Path) -> None:
    file = tmp_path / "saved"
    with running(config) as (machine, _):
        machine.live.attach_card(NetworkConfig(mac=NEW))
        now = machine.config_now
        machine.save(file)
    others = {
        f"has other devices: slot 5 is card {NEW}, not there": config,
        f"slot 5 is card {NEW}, not there, slot 6 is not there, not card 52:54:00:00:00:09": replace(
            now, networks=(now.networks[0], NetworkConfig(mac="52:54:00:00:00:09"))
        ),
        f"card {NEW} is to be in PCI slot 9, and was in slot 5": replace(
            now, networks=(now.networks[0], NetworkConfig(mac=NEW, slot=9))
        ),
    }
    for words, other in others.items():
        with pytest.raises(ConfigError, match=words):
            start(other, file)


@pytest.mark.parametrize("slots", [{}, [1], [None] * 31])
def test_a_layout_that_is_none_is_refused(config: MachineConfig, tmp_path: Path, slots: object) -> None:
    file = tmp_path / "saved"
    with whole_file(file) as written:
        write_start(written, {"slots": slots}, {})
        write_end(written)
    with pytest.raises(ImageError, match="does not say what is in its slots"):
        start(config, file)


def test_what_is_asked_for_during_a_save_comes_after_it(config: MachineConfig, tmp_path: Path) -> None:
    errors: list[str] = []

    def attach() -> None:
        try:
            machine.live.attach_card(NetworkConfig(mac=NEW))
        except HostError as error:
            errors.append(str(error))

    threads: list[threading.Thread] = []

    def begin() -> None:
        threads.append(threading.Thread(target=attach))
        threads[-1].start()
        threads[-1].join(0.2)
        assert threads[-1].is_alive()

    file = tmp_path / "saved"
    with running(config) as (machine, _):
        machine.save_as(Wish(file, ends=False, then=begin))
        threads[0].join(LIMIT_S)
        assert [card.mac for card in machine.live.cards()] == [OLD, NEW]
        with SavedMachine(file) as saved:
            assert saved.head["slots"] == ["disk vda", f"card {OLD}", "fixed"]
        assert not machine.live.detach_card(NEW, patience_s=0.01)
        eject(machine, 5)
        machine.save_as(Wish(file, then=begin))
        threads[1].join(LIMIT_S)
    assert errors == ["the machine does not run"]
