"""The service of the host: what it is, and what machines can have on it.

Spec: libvirt's "Driver capabilities XML format" and "Domain capabilities XML format".
"""

import os
import platform
import socket
from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TypedDict
from uuid import UUID
from xml.etree import ElementTree as ET

from innkeeper import __version__
from innkeeper.config import VCPUS_LIMIT, CardModel, DiskBus, DiskDevice, GraphicsKind, VideoModel
from innkeeper.errors import ConfigError
from innkeeper.manager.domain_xml import ENGINES
from innkeeper.manager.served import served

CPUINFO, MEMINFO, STAT = Path("/proc/cpuinfo"), Path("/proc/meminfo"), Path("/proc/stat")
NODES = Path("/sys/devices/system/node")
MACHINE_ID = Path("/etc/machine-id")
ARCHITECTURE = "x86_64"
MACHINE = "pc"
NANOSECONDS = 10**9


class NodeInfo(TypedDict):
    """What `virsh nodeinfo` tells of a host; `mhz` is 0 where the host does not say."""

    model: str
    cpus: int
    mhz: int
    sockets: int
    cores: int
    threads: int
    nodes: int
    memory_kib: int


class Version(TypedDict):
    """Of Innkeeper, and of the host's kernel."""

    innkeeper: str
    host: str


class Node:
    """All of it is looked up when it is asked for, except for which engines work."""

    @served
    def info(self) -> NodeInfo:
        processors = list(blocks(CPUINFO.read_text()))
        sockets = {each.get("physical id", "0") for each in processors}
        first = processors[0] if processors else {}
        cores = int(first.get("cpu cores", len(processors) or 1))
        siblings = int(first.get("siblings", cores))
        return NodeInfo(
            model=platform.machine(),
            cpus=len(processors),
            mhz=int(float(first.get("cpu MHz", 0))),
            sockets=len(sockets),
            cores=cores,
            threads=max(1, siblings // cores),
            nodes=max(1, len(list(NODES.glob("node[0-9]*")))),
            memory_kib=memory()["MemTotal"],
        )

    @served
    def memory(self, cell: int | None = None) -> dict[str, int]:
        """In KiB, by the names of `virsh nodememstats`: of the host, or of one of its NUMA nodes. Raises `ConfigError` if there is no such."""
        found = memory() if cell is None else memory_of(cell)
        names = {"total": "MemTotal", "free": "MemFree", "buffers": "Buffers", "cached": "Cached"}
        return {name: found[key] for name, key in names.items() if key in found}

    @served
    def processors(self, cpu: int | None = None) -> dict[str, int]:
        """Time that the host's processors have spent since its start, in ns, by the names of `virsh nodecpustats` (proc(5)).

        That of one, if it is named. Raises `ConfigError` if there is no such.
        """
        wanted = "cpu" if cpu is None else f"cpu{cpu}"
        lines = (line.split() for line in STAT.read_text().splitlines())
        ticks = next(([int(word) for word in words[1:]] for words in lines if words[0] == wanted), None)
        if ticks is None:
            raise ConfigError(f"cpu is {cpu}; the host has no processor of that number")
        user, nice, system, idle, iowait = ticks[:5]
        unit = NANOSECONDS // os.sysconf("SC_CLK_TCK")
        kinds = {"user": user + nice, "system": system + sum(ticks[5:7]), "idle": idle, "iowait": iowait}
        return {kind: number * unit for kind, number in kinds.items()}

    @served
    def kind(self, path: str) -> str:
        """What the manager finds there: file, block, folder, other or nothing. Raises `ConfigError` unless it is a whole path."""
        place = Path(path)
        if not place.is_absolute():
            raise ConfigError(f"{path[:80]} is in no folder that the manager knows; give its whole path, from / on")
        if place.is_file():
            return "file"
        if place.is_block_device():
            return "block"
        return "folder" if place.is_dir() else "other" if place.exists() else "nothing"

    @served
    def hostname(self) -> str:
        return socket.gethostname()

    @served
    def version(self) -> Version:
        return Version(innkeeper=__version__, host=f"{platform.system()} {platform.release()}")

    @served
    def capabilities(self) -> str:
        """Libvirt's document about the host and its guests."""
        info = self.info()
        root = ET.Element("capabilities")
        host = ET.SubElement(root, "host")
        if identity := machine_id():
            ET.SubElement(host, "uuid").text = str(identity)
        cpu = ET.SubElement(host, "cpu")
        ET.SubElement(cpu, "arch").text = info["model"]
        first = next(iter(blocks(CPUINFO.read_text())), {})
        for tag, key in (("model", "model name"), ("vendor", "vendor_id")):
            ET.SubElement(cpu, tag).text = first.get(key, "unknown")
        numbers = {"sockets": info["sockets"], "cores": info["cores"], "threads": info["threads"]}
        ET.SubElement(cpu, "topology", {name: str(number) for name, number in numbers.items()})
        guest = ET.SubElement(root, "guest")
        ET.SubElement(guest, "os_type").text = "hvm"
        arch = ET.SubElement(guest, "arch", name=ARCHITECTURE)
        ET.SubElement(arch, "wordsize").text = "64"
        ET.SubElement(arch, "machine", maxCpus=str(VCPUS_LIMIT)).text = MACHINE
        for kind in ENGINES:
            if why_not(kind) is None:
                ET.SubElement(arch, "domain", type=kind)
        features = ET.SubElement(guest, "features")
        for tag in ("acpi", "apic"):
            ET.SubElement(features, tag, default="on", toggle="no")
        return document(root)

    @served
    def domain_capabilities(
        self, virttype: str | None = None, arch: str | None = None, machine: str | None = None
    ) -> str:
        """Libvirt's document about what one machine can have. Raises `ConfigError` for a machine that cannot be."""
        kind = virttype or ("kvm" if why_not("kvm") is None else "qemu")
        if kind not in ENGINES:
            raise ConfigError(f"virttype is {kind!r}; it must be one of {', '.join(ENGINES)}")
        for what, given, only in (("arch", arch, ARCHITECTURE), ("machine", machine, MACHINE)):
            if given not in (None, only):
                raise ConfigError(f"{what} is {given!r}; it must be {only}")
        if (reason := why_not(kind)) is not None:
            raise ConfigError(f"machines of type {kind} cannot run here: {reason}; --virttype qemu works everywhere")
        root = ET.Element("domainCapabilities")
        for tag, text in (("path", "innkeeper"), ("domain", kind), ("machine", MACHINE), ("arch", ARCHITECTURE)):
            ET.SubElement(root, tag).text = text
        ET.SubElement(root, "vcpu", max=str(VCPUS_LIMIT))
        ET.SubElement(root, "os", supported="yes").append(choices("firmware", ["bios", "efi"]))
        devices = ET.SubElement(root, "devices")
        add_device(devices, "disk", diskDevice=DiskDevice, bus=DiskBus, model=["virtio", "virtio-transitional"])
        add_device(devices, "graphics", type=[kind for kind in GraphicsKind if kind is GraphicsKind.VNC])
        add_device(devices, "video", modelType=VideoModel)
        add_device(devices, "interface", model=CardModel)
        add_device(devices, "rng", model=["virtio"], backendModel=["random"])
        add_device(devices, "filesystem", driverType=["path"])
        for absent in ("hostdev", "tpm", "redirdev", "channel"):
            ET.SubElement(devices, absent, supported="no")
        return document(root)


def add_device(devices: ET.Element, tag: str, **enums: Iterable[str] | type[StrEnum]) -> None:
    part = ET.SubElement(devices, tag, supported="yes")
    part.extend(choices(name, values) for name, values in enums.items())


def choices(name: str, values: Iterable[str]) -> ET.Element:
    part = ET.Element("enum", name=name)
    for value in values:
        ET.SubElement(part, "value").text = str(value)
    return part


def document(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


@cache
def why_not(kind: str) -> str | None:
    """What keeps machines of this type from running on this host."""
    from innkeeper import _core

    if kind == "kvm":
        probe = _core.kvm_probe()
        return None if probe["usable"] and probe["ring0_native"] else str(probe["why"])
    return _core.bt_unavailable() if kind in ("qemu", "bt") else None


def machine_id() -> UUID | None:
    """This host's, where it has one (machine-id(5))."""
    try:
        return UUID(MACHINE_ID.read_text().strip())
    except (OSError, ValueError):
        return None


def memory() -> dict[str, int]:
    """`/proc/meminfo`, in KiB."""
    lines = (line.partition(":") for line in MEMINFO.read_text().splitlines())
    return {key: int(value.split()[0]) for key, _, value in lines}


def memory_of(cell: int) -> dict[str, int]:
    """A NUMA node's, in KiB: total and free memory is what a node has by itself."""
    try:
        text = (NODES / f"node{cell}" / "meminfo").read_text()
    except OSError as error:
        raise ConfigError(f"cell is {cell}; the host has no NUMA node of that number") from error
    words = (line.split() for line in text.splitlines())
    return {each[2].rstrip(":"): int(each[3]) for each in words if len(each) > 3}


def blocks(text: str) -> Iterable[dict[str, str]]:
    """The parts of `/proc/cpuinfo`, one a processor."""
    for block in text.strip().split("\n\n"):
        lines = (line.partition(":") for line in block.splitlines())
        found = {key.strip(): value.strip() for key, _, value in lines}
        if "processor" in found:
            yield found
