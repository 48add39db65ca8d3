"""Saving and restoring whole machines, with a guest of a few instructions that counts in its memory and on its console."""

import gc
import random
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from innkeeper.config import (
    BalloonConfig,
    ConsoleConfig,
    ConsoleKind,
    DiskConfig,
    FilesystemConfig,
    InputKind,
    MachineConfig,
    NetworkConfig,
    VideoModel,
    VsockConfig,
)
from innkeeper.console import MemoryConsole
from innkeeper.errors import ConfigError, HostError, ImageError, InnkeeperError
from innkeeper.machine import Machine, OutcomeKind
from innkeeper.machine.saving import Progress, Wish
from innkeeper.machine.state_file import MAGIC, SavedMachine, describe_anew, description_of, whole_file
from innkeeper.testing.guests import flat_guest
from tests.engines import fastest_software

LIMIT_S = 60.0
# mov dx, 3F8h; mov ecx, 200000h; again: inc dword [ecx]; mov al, [ecx]; and al, 0Fh; add al, 'A'; out dx, al; mov ebx, 3FFFFh;
# wait: dec ebx; jnz wait; jmp again
COUNTING = bytes.fromhex("66baf803b900002000ff018a01240f0441eebbffff03004b75fdebed")
LETTERS = "ABCDEFGHIJKLMNOP"


@pytest.fixture
def config(tmp_path: Path) -> MachineConfig:
    kernel = tmp_path / "guest"
    kernel.write_bytes(flat_guest(COUNTING))
    return MachineConfig(kernel=kernel, memory_mib=4, engine=fastest_software(), timeout_s=LIMIT_S)


@contextmanager
def running(config: MachineConfig, restore: Path | None = None) -> Iterator[tuple[Machine, MemoryConsole]]:
    console = MemoryConsole()
    with Machine(config, console=console) as machine:
        machine.restores = restore
        machine.start()
        yield machine, console


def saved(config: MachineConfig, file: Path) -> str:
    """Saves the machine after a while; gives what it said until then."""
    with running(config) as (machine, console):
        console.wait_for(b"CDE", timeout_s=LIMIT_S)
        machine.save(file)
        assert machine.wait(LIMIT_S).kind is OutcomeKind.SAVED
        return console.text


def start(config: MachineConfig, restore: Path) -> None:
    machine = Machine(config)
    machine.restores = restore
    machine.start()


def goes_on(console: MemoryConsole) -> None:
    said = len(console.text)
    deadline = time.monotonic() + LIMIT_S
    while len(console.text) < said + 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def check_letters(said: str) -> None:
    wanted = (LETTERS[1:] + LETTERS[0]) * (len(said) // len(LETTERS) + 1)
    assert said == wanted[: len(said)]


@pytest.mark.parametrize("vcpus", [1, 3])
def test_a_guest_counts_on(config: MachineConfig, tmp_path: Path, vcpus: int) -> None:
    config, file = replace(config, vcpus=vcpus), tmp_path / "saved"
    said = saved(config, file)
    for _ in range(2):  # the file stays as it is
        with running(config, file) as (_, console):
            goes_on(console)
        check_letters(said + console.text)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def cannot_be_saved(machine: Machine, folder: Path) -> None:
    """Where there is no folder, and no room."""
    with pytest.raises(HostError, match="there is no folder"):
        machine.save(folder / "nowhere" / "saved")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(HostError, match="File too large"):
            machine.save(folder / "saved")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_machine_that_cannot_be_saved_runs_on(config: MachineConfig, tmp_path: Path) -> None:
    file = tmp_path / "saved"
    with running(config) as (machine, console):
        cannot_be_saved(machine, tmp_path)
        goes_on(console)
        assert list(tmp_path.glob("*saved*")) == list(tmp_path.glob(".*saved*")) == []
        machine.save(file)
    with running(config, file) as (_, later):
        goes_on(later)
    check_letters(console.text + later.text)


def test_a_failing_save_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    file = tmp_path / "saved"
    file.write_bytes(b"old")
    with pytest.raises(AttributeError), whole_file(file) as new:
        new.no_method_of_a_file()  # type: ignore[attr-defined]
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("saved", b"old")]
    with whole_file(file) as new:
        new.write(b"whole")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("saved", b"whole")]


def test_what_cannot_be_saved_is_named_before_anything_is_touched(config: MachineConfig, tmp_path: Path) -> None:
    with running(config) as (machine, console):
        machine.not_saved = "an installation under way"
        with pytest.raises(HostError, match="cannot save a machine with an installation under way"):
            machine.save(tmp_path / "saved")
        goes_on(console)
    assert not (tmp_path / "saved").exists()


def test_a_machine_with_everything_is_saved_and_goes_on(config: MachineConfig, tmp_path: Path) -> None:
    """Devices without drivers; what they do in the middle of their work is in tests/devices and tests/boot."""
    (tmp_path / "disc").write_bytes(bytes(1 << 20))
    config = replace(
        config,
        memory_mib=64,
        vcpus=2,
        disks=(
            DiskConfig.parse(f"path={tmp_path / 'virtio'},size=0.001"),
            DiskConfig.parse(f"path={tmp_path / 'sata'},size=0.001,bus=sata"),
            DiskConfig.parse(f"path={tmp_path / 'disc'},device=cdrom,check=no"),
        ),
        networks=(NetworkConfig.parse("user"), NetworkConfig.parse("user,model=e1000")),
        filesystems=(FilesystemConfig(source=tmp_path, target="share"),),
        vsock=VsockConfig(cid=3, path=tmp_path / "vsock"),
        balloon=BalloonConfig(memory_mib=50),
        inputs=(InputKind.KEYBOARD, InputKind.TABLET),
        virtio_consoles=(ConsoleConfig(kind=ConsoleKind.NONE),),
        video=VideoModel.VIRTIO,
        rng=True,
    )
    file = tmp_path / "saved"
    said = saved(config, file)
    with running(config, file) as (machine, console):
        goes_on(console)
        assert machine.balloon is not None
        assert machine.balloon.report()["wanted_bytes"] == 14 << 20
    check_letters(said + console.text)


def test_a_machine_is_kept_at_one_moment_and_runs_on(config: MachineConfig, tmp_path: Path) -> None:
    file, done = tmp_path / "kept", []
    with running(config) as (machine, console):
        goes_on(console)
        machine.save_as(Wish(file, ends=False, then=lambda: done.append(console.text)))
        goes_on(console)
        machine.suspend()
        standing = console.text
        machine.save_as(Wish(file, ends=False, then=lambda: done.append(console.text)))
        assert console.text == standing
        machine.resume()
        goes_on(console)
        check_letters(console.text)
        with pytest.raises(HostError, match="in vain"):
            machine.save_as(Wish(tmp_path / "other", ends=False, then=fail))
        goes_on(console)
    assert not (tmp_path / "other").exists()
    assert done[1] == standing
    assert description_of(file) == {"paused": True}
    with running(config, file) as (_, console):
        goes_on(console)
        check_letters(standing + console.text)


@pytest.mark.parametrize("paused", [True, False])
def test_it_begins_as_its_owner_says(config: MachineConfig, tmp_path: Path, paused: bool) -> None:
    file = tmp_path / "saved"
    for restores in (None, file):
        console = MemoryConsole()
        with Machine(config, console=console) as machine:
            machine.restores, machine.begins_suspended = restores, paused
            machine.start()
            if paused:
                assert machine.happenings.state == "paused"
                time.sleep(0.2)
                assert console.text == "", "not an instruction was executed"
                machine.resume()
            goes_on(console)
            machine.save(file)


def fail() -> None:
    raise HostError("in vain")


def test_a_machine_that_does_not_run_is_not_saved(config: MachineConfig, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="does not run"):
        Machine(config).save(tmp_path / "saved")


def test_another_machine_is_refused(config: MachineConfig, tmp_path: Path) -> None:
    file, disk = tmp_path / "saved", tmp_path / "disk"
    config = replace(config, disks=(DiskConfig(path=disk, size_gib=0.001),))
    saved(config, file)
    others: dict[str, MachineConfig] = {
        "has 4 MiB of memory; this one has 8": replace(config, memory_mib=8),
        "has 1 vCPUs; this one has 2": replace(config, vcpus=2),
        "has other devices: slot 2 is disk vda, not there": replace(config, disks=()),
        "has other devices: pci 03.0 is not there, not VirtioFunction": replace(config, rng=True),
    }
    for words, other in others.items():
        with pytest.raises(ConfigError, match=words):
            start(other, file)
        gc.collect()  # an error's traceback knows the devices, and so the disk
    disk.write_bytes(disk.read_bytes())
    with pytest.raises(ConfigError, match="has changed since the machine was saved"):
        start(config, file)


def test_damaged_files_are_refused(config: MachineConfig, tmp_path: Path) -> None:
    file, other = tmp_path / "saved", tmp_path / "other"
    saved(config, file)
    good, rng = file.read_bytes(), random.Random(7)
    cuts = [good[: rng.randrange(len(good))] for _ in range(15)]
    flips = [bytearray(good) for _ in range(40)]
    for flip in flips:
        flip[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
    for bad in (*cuts, good + b"\0", *map(bytes, flips)):
        other.write_bytes(bad)
        with pytest.raises(InnkeeperError, match=str(other)):
            start(config, other)


def test_foreign_files_are_refused(config: MachineConfig, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for content, words in ((b"", "is no saved machine"), (MAGIC + b"\2\0\0\0", "has version 2"), (MAGIC, "version")):
        other.write_bytes(content)
        with pytest.raises(ImageError, match=words):
            SavedMachine(other)
    with pytest.raises(HostError, match="cannot open"):
        start(config, tmp_path / "nothing")


def test_a_machine_that_stands_still_is_saved_as_it_stands_and_goes_on_later(
    config: MachineConfig, tmp_path: Path
) -> None:
    file = tmp_path / "saved"
    with running(config) as (machine, console):
        console.wait_for(b"CDE", timeout_s=LIMIT_S)
        machine.suspend()
        cannot_be_saved(machine, tmp_path)
        assert machine.happenings.state == "paused"
        said = console.text
        time.sleep(0.1)
        assert console.text == said
        assert machine.save(file, bypass_cache=True) >= 3 << 20
        assert machine.wait(LIMIT_S).kind is OutcomeKind.SAVED
        assert console.text == said
    with SavedMachine(file) as head:
        assert head.head["description"]["paused"] is True
    console = MemoryConsole()
    with Machine(config, console=console) as machine:
        machine.restores, machine.begins_suspended, machine.bypasses_cache = file, True, True
        machine.start()
        assert machine.happenings.state == "paused"
        time.sleep(0.1)
        assert console.text == ""
        machine.resume()
        goes_on(console)
    check_letters(said + console.text)


def test_what_is_said_of_a_saved_machine_can_be_changed(config: MachineConfig, tmp_path: Path) -> None:
    file = tmp_path / "saved"
    said = saved(config, file)
    describe_anew(file, {"words": "others"})
    assert description_of(file) == {"words": "others"}
    with running(config, file) as (_, console):
        goes_on(console)
    check_letters(said + console.text)


def test_disks_that_were_moved_are_gone_on_with_if_their_user_says_so(config: MachineConfig, tmp_path: Path) -> None:
    disk, elsewhere, file = tmp_path / "disk", tmp_path / "elsewhere", tmp_path / "saved"
    disk.write_bytes(bytes(1 << 16))
    saved(replace(config, disks=(DiskConfig(path=disk),)), file)
    disk.rename(elsewhere)
    moved = replace(config, disks=(DiskConfig(path=elsewhere),))
    with pytest.raises(ConfigError, match="has changed since"):
        start(moved, file)
    with Machine(moved, console=MemoryConsole()) as machine:
        machine.restores, machine.relocated = file, True
        machine.start()


def test_a_save_can_be_aborted(config: MachineConfig, tmp_path: Path) -> None:
    with running(replace(config, memory_mib=64)) as (machine, console):
        with pytest.raises(HostError, match="is not being saved"):
            machine.abort_save()
        file = tmp_path / "saved"
        watched = Progress.__setattr__

        def abort(progress: Progress, name: str, value: object) -> None:
            watched(progress, name, value)
            if name == "done" and value and not progress.aborted:
                machine.abort_save()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Progress, "__setattr__", abort)
            with pytest.raises(HostError, match="that was aborted, and it goes on"):
                machine.save(file)
        assert not file.exists()
        goes_on(console)
