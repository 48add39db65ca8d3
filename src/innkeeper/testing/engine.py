"""An engine whose vCPUs follow a script: each step touches the buses or ends the run with an exit.

Drives whole boards and machines with no guest at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from innkeeper.bus import Bus
from innkeeper.engine import Capability, Exit, Kicked
from innkeeper.memory import FlatMemory, GuestMemory, Range

if TYPE_CHECKING:
    from innkeeper._core import CpuState, Fabric, Segment, TracedBlock

Step = Callable[["ScriptedVm"], Exit | None]
"""Does something to the machine, as a guest would; an exit if it gives one ends `run`."""


def reset_state() -> CpuState:
    """The state of a processor after power-on (Intel SDM vol. 3, table 10-1), as far as fakes care."""
    data: Segment = {"selector": 0, "attributes": 0x93, "limit": 0xFFFF, "base": 0}
    code: Segment = {"selector": 0xF000, "attributes": 0x9B, "limit": 0xFFFF, "base": 0xFFFF_0000}
    return {
        "gpr": [0] * 16,
        "rip": 0xFFF0,
        "rflags": 2,
        "segments": [data, code, data, data, data, data],
        "ldtr": {"selector": 0, "attributes": 0x82, "limit": 0xFFFF, "base": 0},
        "tr": {"selector": 0, "attributes": 0x8B, "limit": 0xFFFF, "base": 0},
        "gdtr": {"base": 0, "limit": 0xFFFF},
        "idtr": {"base": 0, "limit": 0xFFFF},
        "cr0": 0x6000_0010,
        "cr2": 0,
        "cr3": 0,
        "cr4": 0,
        "cr8": 0,
        "xcr0": 1,
        "efer": 0,
        "dr": [0, 0, 0, 0, 0, 0, 0xFFFF_0FF0, 0x400],
        "msrs": [],
        "xsave": bytes(576),
        "activity": "runnable",
    }


class ScriptedVcpu:
    """Does its steps, then waits to be kicked, as a guest that has nothing left to do."""

    def __init__(self, vm: ScriptedVm, steps: Iterable[Step] = ()) -> None:
        self._vm = vm
        self._steps = iter(steps)
        self._kicked = threading.Event()
        self._state = reset_state()
        self.runs = 0
        self.stops: tuple[list[int], list[tuple[int, int, bool, bool]], bool] = ([], [], False)

    def run(self) -> Exit:
        self.runs += 1
        for step in self._steps:
            exit_ = step(self._vm)
            if exit_ is not None:
                return exit_
            if self._kicked.is_set():
                break
        self._kicked.wait()
        self._kicked.clear()
        return Kicked()

    def kick(self) -> None:
        self._kicked.set()

    def get_state(self) -> CpuState:
        return self._state

    def set_state(self, state: CpuState, /) -> None:
        self._state = state

    def set_stops(self, breakpoints: list[int], watches: list[tuple[int, int, bool, bool]], step: bool, /) -> None:
        self.stops = (breakpoints, watches, step)


class ScriptedVm:
    """Buses and interrupt lines that can be looked at. `gsis` are the levels driven so far.

    `blocks` and `flights` are what a step wants to have been traced.
    """

    def __init__(self, memory: GuestMemory, scripts: Iterable[Iterable[Step]] = ((),)) -> None:
        self.memory = memory
        self.ports = Bus()
        self.mmio = Bus()
        self.map_ports = self.ports.map
        self.unmap_ports = self.ports.unmap
        self.map_mmio = self.mmio.map
        self.unmap_mmio = self.mmio.unmap
        if isinstance(memory, FlatMemory):
            self.map_ram = memory.map_ram
            self.unmap_ram = memory.unmap_ram
        self.gsis: dict[int, bool] = {}
        self.messages: list[tuple[int, int]] = []
        self.interrupt_resets = 0
        self.unplugged: set[int] = set()
        self.blocks: list[TracedBlock] = []
        self.flights: list[list[int]] = []
        self._vcpus = [ScriptedVcpu(self, steps) for steps in scripts]

    def vcpu(self, index: int, /) -> ScriptedVcpu:
        return self._vcpus[index]

    def set_irq(self, gsi: int, level: bool, /) -> None:
        self.gsis[gsi] = level

    def signal_msi(self, address: int, data: int, /) -> None:
        self.messages.append((address, data))

    def reset_interrupts(self) -> None:
        self.gsis.clear()
        self.messages.clear()
        self.interrupt_resets += 1

    def set_plugged(self, index: int, plugged: bool, /) -> None:
        (self.unplugged.discard if plugged else self.unplugged.add)(index)

    @property
    def fabric(self) -> Fabric:
        from innkeeper._core import Fabric

        return Fabric(self.set_irq, self.signal_msi)

    def statistics(self) -> dict[str, Any]:
        return {"vcpus": [{"instructions": vcpu.runs} for vcpu in self._vcpus]}

    def state(self) -> dict[str, Any]:
        return {"gsis": {str(gsi): level for gsi, level in self.gsis.items()}}

    def restore(self, state: dict[str, Any], vcpus: list[CpuState], /) -> None:
        self.gsis = {int(gsi): level for gsi, level in state["gsis"].items()}
        for vcpu, saved in zip(self._vcpus, vcpus, strict=True):
            vcpu.set_state(saved)

    def rewind(self, clock: dict[str, Any], /) -> None:
        raise NotImplementedError

    def trace(self) -> list[TracedBlock]:
        return self.blocks

    def flight_record(self) -> list[list[int]]:
        return self.flights


class ScriptedEngine:
    """Makes `ScriptedVm`s: one script a vCPU, and one such list for each board, the last one for all others."""

    name = "scripted"
    capabilities = frozenset(Capability)

    def __init__(self, *boards: list[list[Step]]) -> None:
        self._boards = list(boards) or [[[]]]
        self.vms: list[ScriptedVm] = []

    def create_memory(self, ranges: list[Range], /) -> FlatMemory:
        return FlatMemory(ranges)

    def create_vm(self, memory: GuestMemory, vcpus: int, /) -> ScriptedVm:
        scripts = self._boards[min(len(self.vms), len(self._boards) - 1)]
        scripts = scripts + [[] for _ in range(vcpus - len(scripts))]
        self.vms.append(ScriptedVm(memory, scripts))
        return self.vms[-1]
