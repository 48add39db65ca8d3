"""Configuration → engine, memory, board, and a vCPU that stands at the kernel's entry point."""

from dataclasses import dataclass

from innkeeper.bus import HostClock
from innkeeper.config import MachineConfig
from innkeeper.devices.uart import ConsoleSink
from innkeeper.engine import Capability, Choice, Engine, Vcpu, Vm, choose
from innkeeper.firmware import BootPlan, KernelImage, cpu_entry
from innkeeper.firmware.acpi import waking_vector
from innkeeper.firmware.image import read_file
from innkeeper.memory import GuestMemory
from innkeeper.platforms import Control, KeptState, PcBoard, Surroundings
from innkeeper.platforms.pc import ACPI_TABLES, EXTENDED_BIOS_DATA, memory_map, ram_ranges

NEEDS = {
    "linux": frozenset({Capability.SYSCALL, Capability.BREAKPOINTS}),
    "pvh": frozenset({Capability.SYSCALL, Capability.BREAKPOINTS}),
    "multiboot": frozenset({Capability.SYSCALL, Capability.BREAKPOINTS, Capability.LEGACY_PAGING}),
}
"""What the guests of a boot protocol expect of a processor."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What outlives a reset."""

    choice: Choice
    memory: GuestMemory


@dataclass(frozen=True, slots=True)
class Assembly:
    """One board with its vCPUs: from power-on or reset to the next."""

    vm: Vm
    vcpus: list[Vcpu]
    board: PcBoard
    clock: HostClock

    def take_apart(self) -> None:
        """Nothing of it holds on to anything else any more."""
        self.board.unplug()
        self.clock.close()


def prepare(config: MachineConfig, kernel: KernelImage, engine: Engine | None = None) -> Parts:
    """Chooses the engine and takes the memory. Raises `InnkeeperError`."""
    choice = Choice(engine, f"{engine.name}: as given") if engine else choose(config.engine, NEEDS[kernel.protocol])
    return Parts(choice, choice.engine.create_memory(ram_ranges(config.memory_mib)))


def assemble(
    config: MachineConfig, parts: Parts, console: ConsoleSink, control: Control, kept: KeptState | None = None
) -> Assembly:
    """Builds a fresh board around the memory. `kept` is what outlived the board before it."""
    vm = parts.choice.engine.create_vm(parts.memory, config.vcpus)
    clock = HostClock()
    around = Surroundings(buses=vm, memory=parts.memory, clock=clock, console=console, control=control)
    board = PcBoard(around, memory_mib=config.memory_mib, vcpus=config.vcpus, test_devices=config.debug_exit, kept=kept)
    return Assembly(vm, [vm.vcpu(index) for index in range(config.vcpus)], board, clock)


def load(config: MachineConfig, kernel: KernelImage, parts: Parts, assembly: Assembly) -> None:
    """Clears the memory, puts kernel and initrd there and the first vCPU at the entry point.

    Raises `InnkeeperError`.
    """
    parts.memory.clear()
    plan = BootPlan(
        command_line=config.append,
        initrd=read_file(config.initrd, "initrd") if config.initrd is not None else None,
        initrd_path=config.initrd,
        memory_map=memory_map(config.memory_mib),
        rsdp=assembly.board.write_tables(),
        extended_bios_data=EXTENDED_BIOS_DATA[0],
    )
    entry = kernel.load(parts.memory, plan)
    first = assembly.vcpus[0]
    first.set_state(entry(first.get_state()))


def wake(parts: Parts, assembly: Assembly) -> bool:
    """Puts the first vCPU where a guest that slept wants to wake; tells whether it wants to at all."""
    vector = waking_vector(parts.memory, ACPI_TABLES[0])
    if vector:
        first = assembly.vcpus[0]
        first.set_state(cpu_entry.real_mode(first.get_state(), address=vector))
    return vector != 0
