"""Configuration → engine, memory, board, and a vCPU that stands at the kernel's entry point."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import field, replace
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from innkeeper import __version__
from innkeeper.bus import HostClock
from innkeeper.config import BootConfig, MachineConfig, VideoModel
from innkeeper.devices.pci import PciDevice
from innkeeper.devices.uart import ConsoleSink
from innkeeper.engine import Capability, Choice, Engine, Translation, Vcpu, Vm, choose
from innkeeper.errors import EngineUnavailable
from innkeeper.firmware import BootPlan, HandedKernel, KernelImage, acpi, cpu_entry, open_bzimage
from innkeeper.firmware.files import read_file
from innkeeper.firmware.rom import Firmware, open_firmware
from innkeeper.firmware.video import font_of, set_text_mode
from innkeeper.machine.backplane import Backplane, Layout
from innkeeper.machine.peripherals import Peripherals, open_peripherals
from innkeeper.machine.serial import with_console
from innkeeper.machine.vcpu_sockets import VcpuSockets
from innkeeper.memory import GuestMemory
from innkeeper.platforms import Control, KeptState, PcBoard, Surroundings
from innkeeper.platforms.pc import ACPI_TABLES, EXTENDED_BIOS_DATA, PORTS, memory_map, ram_ranges
from innkeeper.platforms.pc_start import FirmwareStart
from innkeeper.records import dataclass

if TYPE_CHECKING:
    from innkeeper._core import CpuState

TIME_MSRS = (0x10, 0x3B)  # IA32_TIME_STAMP_COUNTER, IA32_TSC_ADJUST

NEEDS = {
    "linux": frozenset({Capability.SYSCALL, Capability.BREAKPOINTS}),
    "pvh": frozenset({Capability.SYSCALL, Capability.BREAKPOINTS}),
    "multiboot": frozenset({Capability.SYSCALL, Capability.BREAKPOINTS, Capability.LEGACY_PAGING}),
    "bios": frozenset({Capability.SYSCALL, Capability.BREAKPOINTS, Capability.LEGACY_PAGING}),
    "uefi": frozenset({Capability.SYSCALL, Capability.BREAKPOINTS}),
}
"""What the guests of a boot protocol expect of a processor."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What outlives a reset."""

    choice: Choice
    memory: GuestMemory
    peripherals: Peripherals
    firmware: Firmware | None = None
    uuid: UUID = field(default_factory=uuid4)

    def close(self) -> None:
        """Lets go of everything on the host."""
        self.peripherals.close()
        if self.firmware is not None:
            self.firmware.close()


@dataclass(frozen=True, slots=True)
class Outside:
    """Where the guest's words and wishes go."""

    console: ConsoleSink
    control: Control


@dataclass(frozen=True, slots=True)
class Processors:
    """A virtual machine with its vCPUs, and the states that those came with. A sleep does not end them."""

    vm: Vm
    vcpus: list[Vcpu]
    power_on: list[CpuState]


@dataclass(frozen=True, slots=True)
class Assembly:
    """One board with its processors: from power-on, reset or wake to the next."""

    processors: Processors
    board: PcBoard
    clock: HostClock
    backplane: Backplane
    sockets: VcpuSockets

    def take_apart(self) -> None:
        """Nothing of it holds on to anything else any more."""
        self.backplane.disconnect()
        self.sockets.disconnect()
        self.board.unplug()
        self.clock.close()


def prepare(
    config: MachineConfig, kernel: KernelImage | None, engine: Engine | None = None, layout: Layout | None = None
) -> Parts:
    """Chooses the engine and takes the memory. Without a kernel, finds the firmware. With a `layout` devices are in the slots that
    they had. Raises `InnkeeperError`.
    """
    firmware = open_firmware(config.started_by) if config.started_by is not None else None
    try:
        return _prepare(config, kernel or firmware, firmware, engine, layout)
    except BaseException:
        if firmware is not None:
            firmware.close()
        raise


def _prepare(
    config: MachineConfig,
    starts: KernelImage | Firmware | None,
    firmware: Firmware | None,
    engine: Engine | None,
    layout: Layout | None,
) -> Parts:
    assert starts is not None  # noqa: S101 - one of the two
    translation = Translation(code_cache_mib=config.code_cache_mib, trace=config.trace)
    needs = NEEDS[starts.protocol] | ({Capability.DEBUGGER} if config.gdb is not None else set())
    choice = choose(config.engine, needs, translation) if engine is None else Choice(engine, f"{engine.name}: as given")
    if config.gdb is not None and Capability.DEBUGGER not in choice.engine.capabilities:
        raise EngineUnavailable(f"engine {choice.engine.name} does not stop for gdb; use --engine bt or auto")
    memory = choice.engine.create_memory(ram_ranges(config.memory_mib))
    peripherals = open_peripherals(config, memory, layout)
    return Parts(choice, memory, peripherals, firmware, config.uuid or uuid4())


def create_processors(parts: Parts) -> Processors:
    """Those that may be plugged in as well. Raises `HostError` if the host refuses."""
    possible = parts.peripherals.sockets.possible
    parts.peripherals.sockets.power_on()
    vm = parts.choice.engine.create_vm(parts.memory, possible)
    vcpus = [vm.vcpu(index) for index in range(possible)]
    return Processors(vm, vcpus, [vcpu.get_state() for vcpu in vcpus])


def assemble(
    config: MachineConfig, parts: Parts, processors: Processors, outside: Outside, kept: KeptState | None = None
) -> Assembly:
    """Builds a fresh board around memory and processors. `kept` is what outlived the board before it."""
    clock, backplane, sockets = HostClock(), parts.peripherals.backplane, parts.peripherals.sockets

    def make(slots: tuple[PciDevice | None, ...]) -> PcBoard:
        around = Surroundings(
            buses=processors.vm,
            memory=parts.memory,
            clock=clock,
            console=outside.console,
            control=outside.control,
            slots=slots,
            backplane=backplane,
            sockets=sockets,
            places=parts.peripherals.places,
        )
        return PcBoard(
            around,
            memory_mib=config.memory_mib,
            vcpus=sockets.possible,
            test_devices=config.debug_exit,
            kept=kept,
            start=_firmware_start(config, parts),
        )

    board = backplane.build(make, wakes=kept is not None and kept.hotplug is not None)
    sockets.connect(processors.vm, partial(power_on, parts, processors), board.processors.registers)
    vga = parts.peripherals.vga
    if vga is not None and vga.bios is not None and parts.firmware is None:
        set_text_mode(vga.chip.ports, vga.chip.window, font_of(vga.bios))
    return Assembly(processors, board, clock, backplane, sockets)


def power_on(parts: Parts, processors: Processors, index: int) -> None:
    """A vCPU that is plugged in, and waits to be started. Its time is that of the others."""
    state = without_time(processors.power_on[index])
    processors.vcpus[index].set_state(cpu_entry.with_memory_types(state) if parts.firmware is None else state)


def _firmware_start(config: MachineConfig, parts: Parts) -> FirmwareStart | None:
    firmware, boot = parts.firmware, config.boot
    if firmware is None:
        return None
    watched = config.graphics and config.card is VideoModel.VGA  # no BIOS shows anything elsewhere
    silent = watched and not (boot is not None and boot.useserial)
    return FirmwareStart(
        rom=firmware.rom,
        variables=firmware.variables,
        log=firmware.log,
        order=tuple(str(kind) for kind in (boot or BootConfig()).order),
        only=boot is not None,
        menu=boot is not None and boot.menu,
        serial_port=None if silent else PORTS["com1"][0],
        name=config.name or "",
        uuid=parts.uuid,
        version=__version__,
        kernel=_handed(config) if config.kernel is not None else None,
    )


def _handed(config: MachineConfig) -> HandedKernel:
    """The kernel that UEFI starts. Raises `InnkeeperError`."""
    assert config.kernel is not None  # noqa: S101 - as whoever asks has seen
    kernel = open_bzimage(config.kernel)
    return kernel.for_firmware(plan_of(config, is_linux=kernel.is_linux))


def plan_of(config: MachineConfig, *, is_linux: bool) -> BootPlan:
    """What a kernel is told, whoever starts it. Raises `InnkeeperError`."""
    return BootPlan(
        command_line=with_console(config, is_linux=is_linux),
        initrd=read_file(config.initrd, "initrd") if config.initrd is not None else None,
        initrd_path=config.initrd,
    )


def load(config: MachineConfig, kernel: KernelImage | None, parts: Parts, assembly: Assembly) -> None:
    """Clears the memory, puts kernel and initrd there and the first vCPU at the entry point; or leaves it to firmware.

    Raises `InnkeeperError`.
    """
    parts.memory.clear()
    if kernel is None:
        return  # the vCPUs are in their reset state, and the ROM is where they begin
    plan = replace(
        plan_of(config, is_linux=kernel.is_linux),
        memory_map=memory_map(config.memory_mib),
        rsdp=assembly.board.write_tables(),
        extended_bios_data=EXTENDED_BIOS_DATA[0],
        text_screen=parts.peripherals.vga is not None,
    )
    entry = kernel.load(parts.memory, plan)
    first, *others = assembly.processors.vcpus
    first.set_state(entry(first.get_state()))
    for vcpu in others:
        vcpu.set_state(cpu_entry.with_memory_types(vcpu.get_state()))


def waking_vector(parts: Parts) -> int:
    """Where a guest that slept and has no firmware wants to go on; 0 if it did not say."""
    return acpi.waking_vector(parts.memory, ACPI_TABLES[0])


def wake(parts: Parts, processors: Processors) -> None:
    """Resets vCPUs and interrupt controllers, all but their time, and without firmware puts the first vCPU where the
    guest wants to go on.

    What was pending or in service when the guest went to sleep must be gone: firmware that lets interrupts in
    would get one that it never ends, and it would hold back all others from then on.
    """
    processors.vm.reset_interrupts()
    first, *others = states = [without_time(state) for state in processors.power_on]
    if parts.firmware is None:
        states = [cpu_entry.real_mode(first, address=waking_vector(parts)), *map(cpu_entry.with_memory_types, others)]
    for vcpu, state in zip(processors.vcpus, states, strict=True):
        vcpu.set_state(state)


def without_time(state: CpuState) -> CpuState:
    """A copy that leaves the time-stamp counter as it is, as a processor with an invariant one does."""
    copy = deepcopy(state)
    copy["msrs"] = [(index, value) for index, value in copy["msrs"] if index not in TIME_MSRS]
    return copy
