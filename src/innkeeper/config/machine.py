"""One machine's configuration, as the command line and the Python API give it."""

import os
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from uuid import UUID

from innkeeper.config.balloon import BalloonConfig
from innkeeper.config.console import ConsoleConfig, ConsoleKind
from innkeeper.config.disk import DiskConfig
from innkeeper.config.filesystem import FilesystemConfig
from innkeeper.config.firmware import BootConfig, FirmwareConfig, FirmwareKind
from innkeeper.config.gdb import GdbConfig
from innkeeper.config.graphics import GraphicsConfig, GraphicsKind
from innkeeper.config.network import NetworkConfig
from innkeeper.config.video import VideoModel
from innkeeper.config.vsock import VsockConfig
from innkeeper.errors import ConfigError
from innkeeper.records import dataclass

MEMORY_MIB_MINIMUM = 2  # the first MiB is mostly legacy holes
MEMORY_MIB_LIMIT = 1 << 20  # 1 TiB: more than any host of today lends to one guest
VCPUS_LIMIT = 64
CODE_CACHE_MIB_LIMIT = 1024  # a branch reaches 2 GiB, and the cache lies within reach of what it calls
TIMEOUT_S_LIMIT = 1e9  # 31 years; hosts' clocks take little more
COMMAND_LINE_LIMIT = 2047  # COMMAND_LINE_SIZE of an x86 Linux kernel, less its closing NUL


class EngineChoice(StrEnum):
    """Which engine runs the guest's instructions."""

    AUTO = "auto"  # the fastest one that can run this guest on this host
    BT = "bt"  # binary translation
    INTERP = "interp"  # the interpreter
    KVM = "kvm"  # the host's hardware assist


class InputKind(StrEnum):
    """A virtio input device."""

    KEYBOARD = "keyboard"
    TABLET = "tablet"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineConfig:
    """A machine to be built. Raises `ConfigError` for values that cannot be.

    >>> MachineConfig(kernel=Path("vmlinuz"), memory_mib=0)
    Traceback (most recent call last):
      ...
    innkeeper.errors.ConfigError: memory is 0 MiB; it must be between 2 and 1048576
    """

    kernel: Path | None = None  # started directly, or by UEFI; without one, firmware starts what it finds
    initrd: Path | None = None
    append: str = ""
    memory_mib: int = 512
    vcpus: int = 1
    max_vcpus: int | None = None  # with those that are plugged in while it runs; None: no more
    engine: EngineChoice = EngineChoice.AUTO
    disks: tuple[DiskConfig, ...] = ()
    networks: tuple[NetworkConfig, ...] = ()
    filesystems: tuple[FilesystemConfig, ...] = ()  # folders of the host, by 9p
    vsock: VsockConfig | None = None
    rng: bool = False  # a virtio entropy device
    balloon: BalloonConfig | None = None
    virtio_consoles: tuple[ConsoleConfig, ...] = ()  # beside the serial port: hvc0 and so on
    agent: bool = False  # a channel for QEMU's guest agent
    inputs: tuple[InputKind, ...] = ()  # virtio devices, beside the PS/2 ones
    firmware: FirmwareConfig | None = None  # without a kernel: SeaBIOS; with one, UEFI alone
    boot: BootConfig | None = None  # what firmware boots; None: whatever it can
    uuid: UUID | None = None  # made up if None
    console: ConsoleConfig = field(default_factory=ConsoleConfig)
    graphics: tuple[GraphicsConfig, ...] = ()
    video: VideoModel | None = None  # None: a VGA for firmware, and for whoever wants to see it
    name: str | None = None  # under which this user's other programs find it
    control: Path | None = None  # a Unix socket where they find it as well
    timeout_s: float | None = None
    no_reboot: bool = False  # a guest's reset ends the run instead of restarting it
    stats: Path | None = None  # a JSON file, written when the run ends
    debug_exit: bool = False  # QEMU's isa-debug-exit at port 0xf4, for test guests
    gdb: GdbConfig | None = None
    code_cache_mib: int = 64  # of translated code for each vCPU: engine bt
    trace: bool = False  # count block by block, for `Machine.trace`: engine bt, and slower

    @property
    def started_by(self) -> FirmwareConfig | None:
        """The firmware that a machine starts with: without a kernel, or with one that UEFI starts."""
        return self.firmware if self.kernel is not None else self.firmware or FirmwareConfig()

    @property
    def possible_vcpus(self) -> int:
        """How many it may have while it runs."""
        return self.vcpus if self.max_vcpus is None else self.max_vcpus

    @property
    def card(self) -> VideoModel:
        """The graphics card that the machine has."""
        if self.video is not None:
            return self.video
        seen = any(graphics.kind is not GraphicsKind.NONE for graphics in self.graphics)
        return VideoModel.VGA if seen or self.started_by is not None else VideoModel.NONE

    @property
    def shows(self) -> bool:
        """Whether there is a screen."""
        return self.card is not VideoModel.NONE

    @property
    def on_terminal(self) -> bool:
        """Whether the terminal shows the screen. The serial console then leaves it."""
        return any(graphics.kind is GraphicsKind.TERMINAL for graphics in self.graphics)

    @property
    def serial(self) -> ConsoleConfig:
        """Where the serial console goes."""
        taken = self.on_terminal and self.console.kind is ConsoleKind.STDIO
        return ConsoleConfig(kind=ConsoleKind.NONE) if taken else self.console

    def __post_init__(self) -> None:
        self._check_start()
        if self.card is VideoModel.NONE and any(one.kind is not GraphicsKind.NONE for one in self.graphics):
            raise ConfigError("video is none, and graphics are to show it; leave out one of them")
        require_within("memory", self.memory_mib, MEMORY_MIB_MINIMUM, MEMORY_MIB_LIMIT, unit=" MiB")
        require_within("vcpus", self.vcpus, 1, VCPUS_LIMIT)
        require_within("maxvcpus", self.possible_vcpus, self.vcpus, VCPUS_LIMIT)
        require_within("code cache", self.code_cache_mib, 1, CODE_CACHE_MIB_LIMIT, unit=" MiB")
        if len(set(self.inputs)) != len(self.inputs):
            raise ConfigError(f"inputs are {', '.join(self.inputs)}; a machine has one of a kind")
        tags = [filesystem.target for filesystem in self.filesystems]
        if len(set(tags)) != len(tags):
            raise ConfigError(f"filesystem targets are {', '.join(tags)}; each needs a name of its own")
        speakers = [self.console, *self.virtio_consoles]
        if sum(console.kind is ConsoleKind.STDIO for console in speakers) > 1:
            raise ConfigError("two consoles are stdio; give the serial port another place, as in --console none")
        if self.trace and self.engine is not EngineChoice.BT:
            raise ConfigError(f"trace is on, and the engine is {self.engine}; only bt traces")
        if self.timeout_s is not None and not 0 < self.timeout_s <= TIMEOUT_S_LIMIT:
            raise ConfigError(f"timeout is {self.timeout_s:g} s; it must be above 0 and at most {TIMEOUT_S_LIMIT:g}")
        if "\0" in self.append:
            raise ConfigError("append holds a NUL character; a kernel command line ends at the first one")
        length = len(os.fsencode(self.append))
        if length > COMMAND_LINE_LIMIT:
            raise ConfigError(f"append is {length} bytes long; a kernel command line has at most {COMMAND_LINE_LIMIT}")

    def _check_start(self) -> None:
        if self.kernel is None:
            if self.initrd is not None:
                raise ConfigError(
                    f"initrd is {self.initrd}, and there is no kernel; firmware loads none: give a kernel"
                )
            if self.append:
                raise ConfigError(f"append is {self.append!r}, and there is no kernel to be told it; give one")
        elif self.firmware is not None and self.firmware.kind is not FirmwareKind.UEFI:
            raise ConfigError(
                f"kernel is {self.kernel}, which firmware {self.firmware.kind} cannot start; leave out one of them, or give uefi"
            )
        elif self.boot is not None:
            raise ConfigError(f"kernel is {self.kernel}, which is what the machine boots; leave out the boot order")


def require_within(name: str, value: int, low: int, high: int, *, unit: str = "") -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} is {value}{unit}; it must be between {low} and {high}")
