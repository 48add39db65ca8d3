"""What a device is connected to: addresses, interrupt lines, time.

The buses of a running machine are the engine's, in Rust. `Bus` here is their readable twin, which
the fakes in `innkeeper.testing` serve devices with.
"""

from innkeeper.bus.bus import Bus, Device, Part, ones
from innkeeper.bus.clock import Clock, HostClock, Timer
from innkeeper.bus.irq import Buses, GsiLine, IrqLine
from innkeeper.bus.state import Fields, Pausable, State, Stateful, Stateless

__all__ = [
    "Bus",
    "Buses",
    "Clock",
    "Device",
    "Fields",
    "GsiLine",
    "HostClock",
    "IrqLine",
    "Part",
    "Pausable",
    "State",
    "Stateful",
    "Stateless",
    "Timer",
    "ones",
]
