"""The service of machines' hardware: devices, links, discs, memory and figures, of the definition and of what runs.

Which of the two a change is for, `flags` say in virsh's words: live, config, both, current (what runs, or else the
definition), persistent (the definition, and what runs if it does); none means current.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TypedDict, cast
from xml.etree import ElementTree as ET

from innkeeper.config.plain import to_plain
from innkeeper.config.targets import targets
from innkeeper.errors import ConfigError, HostError
from innkeeper.machine.control import ask
from innkeeper.machine.figures import AllFigures
from innkeeper.machine.names import control_of
from innkeeper.machine.present import CardNow, DiskNow
from innkeeper.manager import changes
from innkeeper.manager.device_xml import read_disk, read_interface
from innkeeper.manager.elements import Element, attribute, parse
from innkeeper.manager.naming import find, kept_row, live_xml, row_of
from innkeeper.manager.networks.resolve import resolve_card
from innkeeper.manager.served import served
from innkeeper.manager.store import Store

FLAGS = frozenset({"live", "config", "current", "persistent"})
MAC_PREFIX = "52:54:00"


class Changed(TypedDict):
    """What became of a change. `done` is false while the guest has not yet let go of a device."""

    name: str
    live: bool
    config: bool
    done: bool


class VcpuCount(TypedDict):
    """How many there are, and may be."""

    maximum: int
    current: int


class VcpuCounts(TypedDict):
    """None where there is no such: the machine does not run, or is not kept."""

    live: VcpuCount | None
    config: VcpuCount | None


class Hardware:
    """Machines are named by their name or their UUID. Methods raise `InnkeeperError`."""

    def __init__(self) -> None:
        self._locks: defaultdict[str, Lock] = defaultdict(Lock)  # one change of a machine at a time

    # ---- devices --------------------------------------------------------------------------------

    @served
    def attach(self, name: str, device: str, flags: list[str]) -> Changed:
        """Adds a device: libvirt's XML of an interface or a disk."""
        part = changes.device_of(device)
        if part.tag == "interface" and part.find("mac") is None:
            part.insert(0, ET.Element("mac", address=new_address()))

        def live(name: str) -> bool:
            document = ET.tostring(part, encoding="unicode")
            if part.tag == "interface":
                card = to_plain(resolve_card(read_interface(part)))
                ask(control_of(name), "attach-card", card=card, document=document)
            else:
                ask(control_of(name), "attach-disk", disk=to_plain(read_disk(part)), document=document)
            return True

        return self._change(name, flags, live, lambda xml: changes.add_device(xml, part))

    @served
    def detach(self, name: str, device: str, flags: list[str]) -> Changed:
        """Removes the device that a description means."""
        part = changes.device_of(device)
        mac, target = attribute(part, "mac", "address") or "", attribute(part, "target", "dev") or ""

        def live(name: str) -> bool:
            if part.tag == "interface":
                answer = ask(control_of(name), "detach-card", card=mac or target)
            else:
                answer = ask(control_of(name), "detach-disk", disk=target)
            return bool(answer["gone"])

        return self._change(name, flags, live, lambda xml: changes.remove_device(xml, part))

    @served
    def cards(self, name: str, *, inactive: bool = False) -> list[CardNow]:
        """Of the running machine, or of the definition."""
        name, active = find(name)
        if active and not inactive:
            return cast("list[CardNow]", ask(control_of(name), "devices")["cards"])
        return [card_kept(each) for each in self._document(name).findall("devices/interface")]

    @served
    def disks(self, name: str, *, inactive: bool = False) -> list[DiskNow]:
        """Of the running machine, or of the definition."""
        name, active = find(name)
        if active and not inactive:
            return cast("list[DiskNow]", ask(control_of(name), "devices")["disks"])
        parts = self._document(name).findall("devices/disk")
        names = targets([read_disk(part) for part in parts])
        return [disk_kept(part, target) for part, target in zip(parts, names, strict=True)]

    @served
    def set_link(self, name: str, card: str, flags: list[str], *, up: bool) -> Changed:
        """Plugs a card's cable in, or pulls it. The card is named by its address or its interface on the host."""

        def live(name: str) -> bool:
            ask(control_of(name), "set-link", card=card, up=up)
            return True

        return self._change(name, flags, live, lambda xml: changes.set_link(xml, card, up=up))

    @served
    def change_media(
        self, name: str, disk: str, source: str | None, how: str, flags: list[str], *, force: bool = False
    ) -> Changed:
        """`how` is eject, insert or update."""
        if source is not None and not (Path(source).is_file() or Path(source).is_block_device()):
            raise HostError(f"there is no file {source}")

        def live(name: str) -> bool:
            ask(control_of(name), "change-media", disk=disk, source=source, how=how, force=force)
            return True

        return self._change(name, flags, live, lambda xml: changes.change_media(xml, disk, source, how))

    @served
    def resize(self, name: str, disk: str, size: int) -> Changed:
        """Makes a disk of a running machine larger, to so many bytes."""

        def live(name: str) -> bool:
            ask(control_of(name), "resize-disk", disk=disk, size=size)
            return True

        return self._change(name, ["live"], live, None)

    # ---- memory and vCPUs -----------------------------------------------------------------------

    @served
    def set_memory(self, name: str, kib: int, flags: list[str]) -> Changed:
        """How much memory the guest is left with."""

        def live(name: str) -> bool:
            ask(control_of(name), "set-memory", kib=kib)
            return True

        return self._change(name, flags, live, lambda xml: changes.set_memory(xml, kib))

    @served
    def set_maximum_memory(self, name: str, kib: int, flags: list[str]) -> Changed:
        """How much memory the machine has."""
        fixed = (
            "a running machine keeps the memory that it was started with; setmaxmem --config changes it from its next "
            "start on, and setmem --live what is left to the guest meanwhile"
        )
        return self._change(name, flags, refuse(fixed), lambda xml: changes.set_maximum_memory(xml, kib))

    @served
    def set_vcpus(self, name: str, count: int, flags: list[str], *, maximum: bool = False) -> Changed:
        """How many vCPUs the machine has, or with `maximum` how many it may have from its next start on."""

        def live(name: str) -> bool:
            if maximum:
                raise HostError(
                    "a running machine keeps the room for vCPUs that it was started with; setvcpus --maximum --config "
                    "changes it from its next start on"
                )
            ask(control_of(name), "set-vcpus", count=count)
            return True

        return self._change(name, flags, live, lambda xml: changes.set_vcpus(xml, count, maximum=maximum))

    # ---- figures --------------------------------------------------------------------------------

    @served
    def figures(self, name: str, *, refresh: bool = False) -> AllFigures:
        """What a running machine has used and moved so far."""
        name, active = find(name)
        self._need(name, active=active)
        return cast("AllFigures", ask(control_of(name), "figures", refresh=refresh))

    @served
    def vcpu_counts(self, name: str) -> VcpuCounts:
        """How many vCPUs the machine has and may have, running and by its definition."""
        name, active = find(name)
        live = None
        if active:
            figures = self.figures(name)
            live = VcpuCount(maximum=figures["vcpus_maximum"], current=len(figures["vcpus"]))
        with Store() as store:
            kept = store.find(name)
        if kept is None:
            return VcpuCounts(live=live, config=None)
        vcpu = parse(kept.xml, "the domain").find("vcpu")
        maximum = int(vcpu.text or "1") if vcpu is not None else 1
        current = int(vcpu.get("current", maximum)) if vcpu is not None else 1
        return VcpuCounts(live=live, config=VcpuCount(maximum=maximum, current=current))

    @served
    def xml(self, name: str, *, inactive: bool = False) -> str:
        """As a machine runs, unless it is asked for as it is kept; a transient one is always as it runs."""
        name, active = find(name)
        row = row_of(name)
        if not active or (inactive and row.persistent):
            return row.xml
        figures, xml = self.figures(name), live_xml(name) or row.xml
        count, maximum = len(figures["vcpus"]), figures["vcpus_maximum"]
        return changes.as_running(xml, count, maximum, figures["memory"]["current_kib"])

    @served
    def reboot(self, name: str) -> str:
        """Asks the guest to shut down, and resets it when it has."""
        return self._tell(name, "reboot")

    @served
    def suspend(self, name: str) -> str:
        """Has a running machine stand still; returns when it does."""
        return self._tell(name, "suspend")

    @served
    def resume(self, name: str) -> str:
        """Lets it go on."""
        return self._tell(name, "resume")

    # ---- parts ----------------------------------------------------------------------------------

    def _tell(self, name: str, do: str) -> str:
        name, active = find(name)
        self._need(name, active=active)
        ask(control_of(name), do)
        return name

    def _change(
        self, name: str, flags: list[str], live: Callable[[str], bool], config: Callable[[str], str] | None
    ) -> Changed:
        """Looks whether the definition can be changed, then changes what runs, then stores the definition."""
        name, active = find(name)
        with self._locks[name]:
            to_live, to_config = scope(name, flags, active=active)
            if to_config and config is not None:
                config(kept_row(name).xml)
            done = live(name) if to_live else True
            if to_config and config is not None:
                with Store() as store:
                    store.revise(name, config)
        return Changed(name=name, live=to_live, config=to_config, done=done)

    @staticmethod
    def _need(name: str, *, active: bool) -> None:
        if not active:
            raise HostError(f"machine {name} does not run; inn start {name} starts it")

    @staticmethod
    def _document(name: str) -> Element:
        return parse(row_of(name).xml, "the domain")


def scope(name: str, flags: list[str], *, active: bool) -> tuple[bool, bool]:
    """Whether a change is for what runs, and for the definition. Raises `InnkeeperError` for flags that contradict.

    >>> scope("a", [], active=True), scope("a", [], active=False), scope("a", ["persistent"], active=True)
    ((True, False), (False, True), (True, True))
    """
    given = set(flags)
    if unknown := given - FLAGS:
        raise ConfigError(f"flags are {', '.join(sorted(unknown))}; they can be {', '.join(sorted(FLAGS))}")
    if "current" in given and len(given) > 1:
        raise ConfigError("--current is given with another; it stands alone")
    if "live" in given and not active:
        raise HostError(f"machine {name} does not run; without --live its definition is changed")
    if "persistent" in given:
        return active, True
    if given <= {"current"}:
        return active, not active
    return "live" in given, "config" in given


def refuse(why: str) -> Callable[[str], bool]:
    def live(_name: str) -> bool:
        raise HostError(why)

    return live


def new_address() -> str:
    """An address for a card that was given none.

    >>> new_address()[:9]
    '52:54:00:'
    """
    return ":".join([MAC_PREFIX, *(f"{byte:02x}" for byte in secrets.token_bytes(3))])


def card_kept(part: Element) -> CardNow:
    network = read_interface(part)
    return {
        "target": attribute(part, "target", "dev") or "",
        "type": network.kind.value,
        "source": network.name,
        "model": network.model.value,
        "mac": network.mac or "",
        "link": network.link.value,
        "leases": [],
        "note": "",
    }


def disk_kept(part: Element, target: str) -> DiskNow:
    disk = read_disk(part)
    return {
        "target": target,
        "source": str(disk.path) if disk.path is not None else "",
        "chain": [],
        "format": disk.format.value if disk.format is not None else "",
        "bus": disk.bus.value,
        "device": disk.device.value,
        "readonly": disk.readonly,
        "size": 0,
        "serial": disk.serial,
        "slot": None,
    }
