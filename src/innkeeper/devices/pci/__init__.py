"""PCI: configuration space, functions on a bus, and the chips that make a PC's bus 0."""

from innkeeper.devices.pci.bus import PciBus
from innkeeper.devices.pci.config_space import Bar, BarKind, PciFunction, PciIdentity
from innkeeper.devices.pci.host_bridge import HostBridge, isa_bridge, pci_host_function
from innkeeper.devices.pci.site import PciDevice, PciSite

__all__ = [
    "Bar",
    "BarKind",
    "HostBridge",
    "PciBus",
    "PciDevice",
    "PciFunction",
    "PciIdentity",
    "PciSite",
    "isa_bridge",
    "pci_host_function",
]
