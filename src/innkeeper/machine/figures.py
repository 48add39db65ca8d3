"""What a running machine has used and moved so far: processor time, memory, disks, cards, exits by kind."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from innkeeper.config import MachineConfig
from innkeeper.devices.virtio import Balloon
from innkeeper.machine.drives import CdromDrive, Drive
from innkeeper.machine.network import Card
from innkeeper.machine.run_loop import BoardRun
from innkeeper.machine.vcpu_sockets import VcpuSockets
from innkeeper.machine.virtio import VirtioDisk

if TYPE_CHECKING:
    from innkeeper._core import DiskTraffic

KIB = 1024
BLOCK_BYTES = 512  # in which stat(2) counts
NS = 1_000_000_000
PROCESSOR_FIELD = 36  # of /proc/PID/stat, behind the name (proc(5): 39, counted from 1)


NO_TRAFFIC: DiskTraffic = {"read": (0, 0, 0), "written": (0, 0, 0), "flushed": (0, 0, 0), "failed": 0, "error": 0}


class VcpuFigures(TypedDict):
    """One vCPU; `processor` is the host's that it ran on last."""

    number: int
    state: str
    time_ns: int
    processor: int | None


class MemoryFigures(TypedDict):
    """In KiB. `guest` is what the guest's balloon driver last said, by name."""

    maximum_kib: int
    current_kib: int
    resident_kib: int
    guest: dict[str, int]


class CardFigures(TypedDict):
    """As the guest sees it."""

    target: str
    mac: str
    rx_bytes: int
    rx_packets: int
    tx_bytes: int
    tx_packets: int


class DiskFigures(TypedDict):
    """Requests, bytes and nanoseconds; sizes in bytes."""

    target: str
    source: str
    rd_reqs: int
    rd_bytes: int
    rd_times: int
    wr_reqs: int
    wr_bytes: int
    wr_times: int
    fl_reqs: int
    fl_times: int
    errors: int
    capacity: int
    allocation: int
    physical: int


class AllFigures(TypedDict):
    """`vcpus` are those that are plugged in; `exits` are the engine's counters, all vCPUs together; see `docs/reference/statistics.md`."""

    state: str
    cpu_time_ns: int
    user_ns: int
    system_ns: int
    memory: MemoryFigures
    vcpus: list[VcpuFigures]
    vcpus_maximum: int
    cards: list[CardFigures]
    disks: list[DiskFigures]
    exits: dict[str, int]


class Counted(Protocol):
    """A machine from inside."""

    @property
    def run(self) -> Callable[[], BoardRun]: ...
    @property
    def statistics(self) -> Callable[[], Mapping[str, Any]]: ...
    @property
    def state(self) -> Callable[[], str]: ...


class Figures:
    """Adds up what threads that have ended had used."""

    def __init__(self, config: MachineConfig, inside: Counted) -> None:
        self._config = config
        self._inside = inside
        self._seen: dict[int, tuple[int, int]] = {}  # of each vCPU: its thread, and the time of that
        self._spent: dict[int, int] = {}

    def all(
        self,
        cards: Sequence[Card],
        disks: Sequence[VirtioDisk | Drive],
        balloon: Balloon | None,
        sockets: VcpuSockets,
    ) -> AllFigures:
        used = resource.getrusage(resource.RUSAGE_SELF)
        user, system = int(used.ru_utime * NS), int(used.ru_stime * NS)
        return {
            "state": self._inside.state(),
            "cpu_time_ns": user + system,
            "user_ns": user,
            "system_ns": system,
            "memory": self._memory(balloon),
            "vcpus": self._vcpus(sockets),
            "vcpus_maximum": sockets.possible,
            "cards": [card_figures(card) for card in cards],
            "disks": [disk_figures(disk) for disk in disks],
            "exits": totals(self._inside.statistics()),
        }

    def _vcpus(self, sockets: VcpuSockets) -> list[VcpuFigures]:
        threads = self._inside.run().thread_ids()
        return [self._vcpu(index, threads.get(index)) for index in sorted(sockets.plugged)]

    def _vcpu(self, index: int, thread: int | None) -> VcpuFigures:
        now, processor = thread_figures(thread) if thread is not None else (0, None)
        before = self._seen.get(index)
        if before is not None and before[0] != thread:
            self._spent[index] = self._spent.get(index, 0) + before[1]
            del self._seen[index]
        if thread is not None:
            self._seen[index] = (thread, now)
        state = self._inside.state() if thread is not None or self._inside.state() == "paused" else "halted"
        return {
            "number": index,
            "state": state,
            "time_ns": self._spent.get(index, 0) + now,
            "processor": processor,
        }

    def _memory(self, balloon: Balloon | None) -> MemoryFigures:
        maximum = self._config.memory_mib * KIB
        report = balloon.report() if balloon is not None else None
        given = report["actual_bytes"] // KIB if report is not None else 0
        guest = report["statistics"] if report is not None else {}
        return {
            "maximum_kib": maximum,
            "current_kib": max(maximum - given, 0),
            "resident_kib": resident_bytes() // KIB,
            "guest": dict(guest),
        }


def thread_figures(thread: int) -> tuple[int, int | None]:
    """Nanoseconds that a thread of this process has run, and the processor that it was on last."""
    folder = Path("/proc/self/task") / str(thread)
    try:
        ran = int((folder / "schedstat").read_text().split()[0])
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError, IndexError):
        return 0, None  # it has just ended
    return ran, int(fields[PROCESSOR_FIELD])


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def totals(statistics: Mapping[str, Any]) -> dict[str, int]:
    """The plain counters of all vCPUs together."""
    total: dict[str, int] = {}
    for vcpu in statistics.get("vcpus", []):
        for name, value in vcpu.items():
            if isinstance(value, int):
                total[name] = total.get(name, 0) + value
    return total


def card_figures(card: Card) -> CardFigures:
    received, received_frames, sent, sent_frames = card.opened.link.traffic()
    return {
        "target": card.target,
        "mac": card.mac,
        "rx_bytes": received,
        "rx_packets": received_frames,
        "tx_bytes": sent,
        "tx_packets": sent_frames,
    }


def disk_figures(disk: VirtioDisk | Drive) -> DiskFigures:
    core, source = image_of(disk), source_of(disk)
    traffic: DiskTraffic = core.traffic() if core is not None else NO_TRAFFIC
    allocation = physical = 0
    if source:
        try:
            status = Path(source).stat()
            allocation, physical = status.st_blocks * BLOCK_BYTES, status.st_size
        except OSError:
            pass  # it was removed under the machine, which still has it
    (reads, read, reading), (writes, written, writing) = traffic["read"], traffic["written"]
    flushes, _, flushing = traffic["flushed"]
    return {
        "target": disk.target,
        "source": source,
        "rd_reqs": reads,
        "rd_bytes": read,
        "rd_times": reading,
        "wr_reqs": writes,
        "wr_bytes": written,
        "wr_times": writing,
        "fl_reqs": flushes,
        "fl_times": flushing,
        "errors": traffic["failed"],
        "capacity": core.size if core is not None else 0,
        "allocation": allocation,
        "physical": physical,
    }


def image_of(disk: VirtioDisk | Drive) -> Any:
    """The open image, if there is one."""
    if isinstance(disk, VirtioDisk):
        return disk.disk
    return disk.contents.disc if isinstance(disk.contents, CdromDrive) else disk.contents


def source_of(disk: VirtioDisk | Drive) -> str:
    cdrom = isinstance(disk, Drive) and isinstance(disk.contents, CdromDrive)
    path = disk.contents.path if cdrom else disk.config.path  # type: ignore[union-attr] # as was just asked
    return str(path) if path is not None else ""
