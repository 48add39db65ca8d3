"""What can be changed of a machine while it runs: cards and disks plugged in and pulled out, links, discs, sizes, memory.

The lists say what there is now, which no configuration knows any more.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from innkeeper.config import DiskConfig, MachineConfig, NetworkConfig
from innkeeper.config.disk import DiskBus, DiskDevice, DiskFormat
from innkeeper.config.network import NetworkKind
from innkeeper.config.plain import from_plain
from innkeeper.config.targets import free_target, targets
from innkeeper.errors import ConfigError, HostError, ImageError
from innkeeper.machine import agent
from innkeeper.machine.asked import Asked, maybe, number, text, texts
from innkeeper.machine.block_jobs import BlockJobs
from innkeeper.machine.builder import Parts
from innkeeper.machine.control import Command
from innkeeper.machine.drives import CdromDrive, Drive
from innkeeper.machine.figures import AllFigures, Figures, image_of, source_of
from innkeeper.machine.happenings import Happenings
from innkeeper.machine.network import Card, open_card
from innkeeper.machine.peripherals import Peripherals
from innkeeper.machine.present import DiskNow, Present, card_now, disk_now, present, slot_of
from innkeeper.machine.run_loop import BoardRun
from innkeeper.machine.virtio import VirtioDisk
from innkeeper.records import dataclass

KIB = 1024
REFRESH_S = 0.05  # for a guest to tell of its memory; what comes later is there the next time
PATIENCE_S = 5.0  # for a guest to let go of a device; it may do so later all the same


class Changeable:
    """The part of a `Machine` that is changed while it runs. What it uses is its machine's."""

    config: MachineConfig
    happenings: Happenings
    _parts: Parts | None
    _run: BoardRun

    def statistics(self) -> dict[str, Any]:
        raise NotImplementedError

    def press_power_button(self) -> None:
        raise NotImplementedError

    @cached_property
    def live(self) -> Live:
        """What can be changed of it, and what it has used."""

        def peripherals() -> Peripherals | None:
            parts = self._parts
            return parts.peripherals if parts is not None else None

        def state() -> str:
            return self.happenings.state

        return Live(
            self.config, Inside(peripherals, lambda: self._run, self.statistics, self.press_power_button, state)
        )

    def busy_disks(self) -> list[str]:
        """The targets of disks that have a block job."""
        return self.live.jobs.active

    def change_media(self, disc: Path | None, *, drive: int = 0, force: bool = False, check: bool = True) -> None:
        """Puts another disc into a CD-ROM drive, or takes it out. `drive` counts those of the configuration.

        Raises `InnkeeperError`; the old disc is then still there. `force` opens a tray that the guest has locked;
        `check` is for discs to hold a file system of discs.
        """
        self.live.there().cdrom(drive).change(disc, force=force, check=check)


@dataclass(frozen=True, slots=True)
class Inside:
    """What a machine shows of itself here."""

    peripherals: Callable[[], Peripherals | None]
    """None while it does not run."""
    run: Callable[[], BoardRun]
    statistics: Callable[[], Mapping[str, Any]]
    press_power_button: Callable[[], None]
    state: Callable[[], str]
    """As `Happenings` has it: running, paused."""


class Live:
    """From any thread. What does not run, or is not there, raises `InnkeeperError`."""

    def __init__(self, config: MachineConfig, inside: Inside) -> None:
        self._config = config
        self._inside = inside
        self._figures = Figures(config, inside)
        self._one_at_a_time = threading.Lock()  # changes
        self._over = False
        self.jobs = BlockJobs(self.disk)
        self._opened = sum(network.kind is not NetworkKind.NONE for network in config.networks)

    @contextmanager
    def held(self, *, ends: bool) -> Iterator[None]:
        """Nothing is changed meanwhile, and if that `ends` the machine without an error, nothing any more."""
        with self._one_at_a_time:
            yield
            self._over = ends

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._one_at_a_time:
            if self._over:
                raise HostError("the machine does not run")
            yield

    # ---- cards ----------------------------------------------------------------------------------

    def cards(self) -> list[Card]:
        return [item for item in self.there().backplane.contents() if isinstance(item, Card)]

    def card(self, name: str) -> Card:
        """By its MAC address, or its interface on the host."""
        wanted = name.lower()
        found = [card for card in self.cards() if wanted == card.mac or (name and name == card.target)]
        if not found:
            known = ", ".join(card.mac for card in self.cards()) or "none at all"
            raise ConfigError(f"the machine has no network card {name}; it has {known}")
        return found[0]

    def attach_card(self, network: NetworkConfig, document: str | None = None) -> Card:
        """Plugs a card in; the guest's driver finds it in its own time. `document` is what its user calls it."""
        with self._changing():
            if network.kind is NetworkKind.NONE:
                raise ConfigError("a card of type none cannot be attached; name where its cable leads")
            if network.mac is not None and network.mac.lower() in [card.mac for card in self.cards()]:
                raise ConfigError(f"the machine has a card with the address {network.mac}; give another")
            card = open_card(self._config, network, self._opened)
            card.document = document
            try:
                self.there().backplane.plug(card)
            except BaseException:
                card.close()
                raise
            self._opened += 1
            return card

    def detach_card(self, name: str, patience_s: float = PATIENCE_S) -> bool:
        """Asks the guest to let go of a card; whether it has within that time. It may do so later."""
        card, backplane = self.card(name), self.there().backplane
        backplane.ask_for(card)
        return backplane.wait_until_gone(card, patience_s)

    def set_link(self, name: str, *, up: bool) -> None:
        """Plugs a card's cable in, or pulls it."""
        with self._changing():
            self.card(name).set_link(up=up)

    # ---- disks ----------------------------------------------------------------------------------

    def disks(self) -> list[VirtioDisk | Drive]:
        """In the order of the configuration, then those that came later."""
        there, order = self.there(), targets(self._config.disks)
        virtio = [item for item in there.backplane.contents() if isinstance(item, VirtioDisk)]
        disks: list[VirtioDisk | Drive] = [*there.drives, *virtio]
        return sorted(disks, key=lambda disk: order.index(disk.target) if disk.target in order else len(order))

    def disk(self, target: str) -> VirtioDisk | Drive:
        """By its target, or the file in it."""
        disks = self.disks()
        found = [disk for disk in disks if target in (disk.target, source_of(disk))]
        if not found:
            known = ", ".join(disk.target for disk in disks) or "none at all"
            raise ConfigError(f"the machine has no disk {target}; it has {known}")
        return found[0]

    def attach_disk(self, config: DiskConfig, document: str | None = None) -> VirtioDisk:
        """Plugs a virtio disk in. `document` as in `attach_card`."""
        with self._changing():
            if config.bus is not DiskBus.VIRTIO or config.device is not DiskDevice.DISK:
                raise ConfigError(
                    f"a {config.device} on bus {config.bus} cannot be attached while the machine runs; a virtio disk can, "
                    "or change the definition with --config"
                )
            taken = [disk.target for disk in self.disks()]
            if config.target in taken:
                raise ConfigError(f"the machine has a disk {config.target}; {free_target(config.bus, taken)} is free")
            disk = VirtioDisk(config, config.target or free_target(config.bus, taken), self._config.vcpus)
            disk.document = document
            try:
                self.there().backplane.plug(disk)
            except BaseException:
                disk.close()
                raise
            return disk

    def detach_disk(self, target: str, patience_s: float = PATIENCE_S) -> bool:
        """As `detach_card`."""
        disk, backplane = self.disk(target), self.there().backplane
        self.jobs.check_idle(disk.target)
        if not isinstance(disk, VirtioDisk):
            raise HostError(
                f"disk {disk.target} is on bus {disk.config.bus}, where nothing comes off while the machine runs"
            )
        backplane.ask_for(disk)
        return backplane.wait_until_gone(disk, patience_s)

    def lay_overlays(self, overlays: Mapping[str, str]) -> None:
        """Moves disks, by their targets, onto overlays that are there: all at one moment, or none."""
        with self._changing():
            self.lay_overlays_held(overlays)

    def lay_overlays_held(self, overlays: Mapping[str, str]) -> None:
        """The same for who keeps all else from changing."""
        from innkeeper import _core

        disks = {target: self.disk(target) for target in overlays}
        images = {target: image_of(disk) for target, disk in disks.items()}
        for target, disk in disks.items():
            self.jobs.check_idle(disk.target)
            if images[target] is None or disk.config.device is not DiskDevice.DISK or disk.config.readonly:
                raise ConfigError(f"disk {target} is only read, and needs no overlay")
        try:
            _core.lay_overlays([(images[target], Path(path)) for target, path in overlays.items()])
        except OSError as error:
            raise HostError(error.strerror or str(error)) from error
        except ValueError as error:
            raise ImageError(str(error)) from error
        for target, disk in disks.items():
            disk.config = replace(disk.config, path=Path(overlays[target]), format=DiskFormat.QCOW2)

    def resize_disk(self, target: str, size: int) -> None:
        """Makes a virtio disk larger; the guest's driver is told."""
        disk = self.disk(target)
        if not isinstance(disk, VirtioDisk):
            raise HostError(
                f"disk {disk.target} is on bus {disk.config.bus}, whose guests hear of no new size; "
                "stop the machine and use inn image resize"
            )
        with self._changing():
            disk.grow(size)

    def change_media(self, target: str, path: Path | None, how: str, *, force: bool = False) -> None:
        """Changes the disc in a CD-ROM drive. `how` is eject, insert (into an empty drive) or update."""
        drive = self.disk(target)
        cdrom = drive.contents if isinstance(drive, Drive) else None
        if not isinstance(cdrom, CdromDrive):
            raise ConfigError(f"disk {drive.target} is no CD-ROM drive, so there is nothing to change in it")
        with self._changing():
            if how == "insert" and cdrom.path is not None:
                raise HostError(f"drive {drive.target} has {cdrom.path} in it; eject that first, or update it")
            if how == "eject" and cdrom.path is None:
                raise HostError(f"drive {drive.target} has no disc in it")
            cdrom.change(path, force=force)

    # ---- the rest -------------------------------------------------------------------------------

    def set_memory(self, kib: int) -> None:
        """How much of its memory shall be left to the guest; its balloon driver gives it up by and by."""
        balloon, whole = self.there().balloon, self._config.memory_mib * KIB
        if balloon is None:
            raise HostError("the machine has no balloon, by which its guest could give memory back")
        if kib > whole:
            raise ConfigError(
                f"{kib} KiB of memory are asked for; the machine was started with {whole}, and gets no more while it runs: "
                "setmaxmem --config gives it more, from its next start on"
            )
        if kib < 1:
            raise ConfigError(f"memory is {kib} KiB; it must be between 1 and {whole}")
        balloon.set_memory(kib * KIB)

    def set_vcpus(self, count: int) -> None:
        """Plugs vCPUs in, or asks the guest for some and waits until it has given them back."""
        self.there().sockets.set_count(count)

    def reboot(self) -> None:
        """Presses the power button; when the guest has shut down, it is reset rather than over."""
        self.there()
        self._inside.run().reboots = True
        self._inside.press_power_button()

    def figures(self, *, refresh: bool = False) -> AllFigures:
        """What the machine has used and moved so far. `refresh` asks the guest for its memory's figures first."""
        there = self.there()
        if refresh and there.balloon is not None:
            there.balloon.refresh()
            time.sleep(REFRESH_S)
        return self._figures.all(self.cards(), self.disks(), there.balloon, there.sockets)

    def disk_errors(self) -> dict[str, str]:
        """Disks whose last request failed, by their targets."""
        images = {disk.target: image_of(disk) for disk in self.disks()}
        numbers = {target: image.traffic()["error"] for target, image in images.items() if image is not None}
        words = {0: "", errno.ENOSPC: "no space"}
        return {target: word for target, number in numbers.items() if (word := words.get(number, "unspecified error"))}

    def describe(self) -> dict[str, list[Any]]:
        """Cards and disks as they are now."""
        return {"cards": [card_now(card) for card in self.cards()], "disks": [self._now(disk) for disk in self.disks()]}

    def _now(self, disk: VirtioDisk | Drive) -> DiskNow:
        return disk_now(disk, slot_of(disk, self.there().backplane) if isinstance(disk, VirtioDisk) else None)

    def present(self) -> Present:
        """The same as configurations."""
        return present(self.disks(), self.cards(), self.there().backplane)

    def commands(self) -> dict[str, Command]:
        """For the control socket."""
        return {
            "devices": lambda _asked: self.describe(),
            "disk-errors": lambda _asked: self.disk_errors(),
            "attach-card": lambda asked: card_now(
                self.attach_card(from_plain(NetworkConfig, asked.get("card")), maybe(asked, "document"))
            ),
            "attach-disk": lambda asked: self._now(
                self.attach_disk(from_plain(DiskConfig, asked.get("disk")), maybe(asked, "document"))
            ),
            "detach-card": lambda asked: {"gone": self.detach_card(text(asked, "card"))},
            "detach-disk": lambda asked: {"gone": self.detach_disk(text(asked, "disk"))},
            "set-link": lambda asked: self.set_link(text(asked, "card"), up=bool(asked.get("up"))),
            "resize-disk": lambda asked: self.resize_disk(text(asked, "disk"), number(asked, "size")),
            "change-media": lambda asked: self.change_media(
                text(asked, "disk"), path_of(asked), text(asked, "how"), force=bool(asked.get("force"))
            ),
            "set-memory": lambda asked: self.set_memory(number(asked, "kib")),
            "set-vcpus": lambda asked: self.set_vcpus(number(asked, "count")),
            "reboot": lambda _asked: self.reboot(),
            "figures": lambda asked: self.figures(refresh=bool(asked.get("refresh"))),
            "lay-overlays": lambda asked: self.lay_overlays(texts(asked, "overlays")),
            **self.jobs.commands(),
            **agent.commands(lambda: self.there().agent),
        }

    def there(self) -> Peripherals:
        peripherals = self._inside.peripherals()
        if peripherals is None:
            raise HostError("the machine does not run")
        return peripherals


def path_of(asked: Asked) -> Path | None:
    source = maybe(asked, "source")
    return Path(source) if source is not None else None
