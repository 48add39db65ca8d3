r"""Innkeeper: a hypervisor for x86-64 machines, Python outside and Rust inside.

    from innkeeper import Machine, MachineConfig, MemoryConsole

    config = MachineConfig(kernel=Path("vmlinuz"), append="console=ttyS0", timeout_s=60)
    console = MemoryConsole()
    with Machine(config, console=console) as machine:
        machine.start()
        console.wait_for(b"login:", timeout_s=30)
        console.send(b"root\r")

The rooms and what each may import are drawn in `docs/architecture.md`.
"""

from typing import TYPE_CHECKING

from innkeeper.errors import (
    BootError,
    ConfigError,
    EngineError,
    EngineUnavailable,
    HostError,
    ImageError,
    InnkeeperError,
)
from innkeeper.lazy import lazily

if TYPE_CHECKING:
    from innkeeper.config import ConsoleConfig, ConsoleKind, EngineChoice, MachineConfig
    from innkeeper.console import MemoryConsole
    from innkeeper.machine import Machine, Outcome, OutcomeKind

__version__ = "0.1.0"  # as in pyproject.toml; asking the installation for it would cost every start 40 ms

__all__ = [
    "BootError",
    "ConfigError",
    "ConsoleConfig",
    "ConsoleKind",
    "EngineChoice",
    "EngineError",
    "EngineUnavailable",
    "HostError",
    "ImageError",
    "InnkeeperError",
    "Machine",
    "MachineConfig",
    "MemoryConsole",
    "Outcome",
    "OutcomeKind",
    "__version__",
]

__getattr__ = lazily(
    __name__,
    {
        "ConsoleConfig": "innkeeper.config",
        "ConsoleKind": "innkeeper.config",
        "EngineChoice": "innkeeper.config",
        "Machine": "innkeeper.machine",
        "MachineConfig": "innkeeper.config",
        "MemoryConsole": "innkeeper.console",
        "Outcome": "innkeeper.machine",
        "OutcomeKind": "innkeeper.machine",
    },
)
