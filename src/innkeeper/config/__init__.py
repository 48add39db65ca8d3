"""What a machine shall be: frozen data, validated once when it is made, trusted afterwards.

Left out: anything that needs the host to answer (does the file exist, is there a KVM); those who
open the file or the device say so.
"""

from innkeeper.config.balloon import BalloonConfig
from innkeeper.config.console import ConsoleConfig, ConsoleKind
from innkeeper.config.disk import DetectZeroes, Discard, DiskBus, DiskCache, DiskConfig, DiskDevice, DiskFormat
from innkeeper.config.filesystem import FilesystemConfig
from innkeeper.config.firmware import BootConfig, BootDevice, FirmwareConfig, FirmwareKind
from innkeeper.config.gdb import GdbConfig
from innkeeper.config.graphics import GraphicsConfig, GraphicsKind, Sharing
from innkeeper.config.keyvalue import KeyValues
from innkeeper.config.machine import (
    CODE_CACHE_MIB_LIMIT,
    COMMAND_LINE_LIMIT,
    MEMORY_MIB_LIMIT,
    MEMORY_MIB_MINIMUM,
    VCPUS_LIMIT,
    EngineChoice,
    InputKind,
    MachineConfig,
)
from innkeeper.config.network import (
    CardModel,
    ForwardConfig,
    LinkState,
    NetworkConfig,
    NetworkKind,
    UserBackend,
)
from innkeeper.config.video import VideoModel
from innkeeper.config.vsock import VsockConfig

__all__ = [
    "CODE_CACHE_MIB_LIMIT",
    "COMMAND_LINE_LIMIT",
    "MEMORY_MIB_LIMIT",
    "MEMORY_MIB_MINIMUM",
    "VCPUS_LIMIT",
    "BalloonConfig",
    "BootConfig",
    "BootDevice",
    "CardModel",
    "ConsoleConfig",
    "ConsoleKind",
    "DetectZeroes",
    "Discard",
    "DiskBus",
    "DiskCache",
    "DiskConfig",
    "DiskDevice",
    "DiskFormat",
    "EngineChoice",
    "FilesystemConfig",
    "FirmwareConfig",
    "FirmwareKind",
    "ForwardConfig",
    "GdbConfig",
    "GraphicsConfig",
    "GraphicsKind",
    "InputKind",
    "KeyValues",
    "LinkState",
    "MachineConfig",
    "NetworkConfig",
    "NetworkKind",
    "Sharing",
    "UserBackend",
    "VideoModel",
    "VsockConfig",
]
