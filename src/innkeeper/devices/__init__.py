"""The guest's side of devices: one chip a file. A device sees offsets into its own region, and is
handed everything else that it needs.
"""

from innkeeper.devices.uart import Uart

__all__ = ["Uart"]
