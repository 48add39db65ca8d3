"""PCI: configuration space, functions on a bus, and the chips that make a PC's bus 0."""

from innkeeper.devices.pci.bus import PciBus
from innkeeper.devices.pci.config_space import Bar, BarKind, PciFunction, PciIdentity
from innkeeper.devices.pci.host_bridge import HostBridge, HostFunction
from innkeeper.devices.pci.hotplug import HotplugState, PciHotplug
from innkeeper.devices.pci.piix import IsaBridge, PowerManagement
from innkeeper.devices.pci.shadow import Shadow
from innkeeper.devices.pci.site import PciDevice, PciSite

__all__ = [
    "Bar",
    "BarKind",
    "HostBridge",
    "HostFunction",
    "HotplugState",
    "IsaBridge",
    "PciBus",
    "PciDevice",
    "PciFunction",
    "PciHotplug",
    "PciIdentity",
    "PciSite",
    "PowerManagement",
    "Shadow",
]
